import type { Cluster, Network, PortProtocol, Service, Task } from "#proto/gen/types.ts";
import { AddressView } from "./address-view.ts";
import { addressSpace, groupKey, portKey } from "./keys.ts";
import type { TableSet } from "./tables.ts";
import type { ReadTx, TableName, Tables } from "./types.ts";

/** Reads of the committed objects. */
export class TableReader implements ReadTx {
  protected tables: TableSet;

  constructor(tables: TableSet) {
    this.tables = tables;
  }

  get<T extends TableName>(table: T, id: string): Tables[T] | undefined {
    return this.tables.get(table, id);
  }

  all<T extends TableName>(table: T): IterableIterator<Tables[T]> {
    return this.tables.objects.get(table)!.values() as IterableIterator<Tables[T]>;
  }

  count(table: TableName): number {
    return this.tables.objects.get(table)!.size;
  }

  cluster(): Cluster | undefined {
    return this.all("cluster").next().value;
  }

  tasksOfService(serviceId: string): readonly Task[] {
    return this.group<Task>(groupKey.serviceTasks(serviceId));
  }

  tasksOfNode(nodeId: string): readonly Task[] {
    return this.group<Task>(groupKey.nodeTasks(nodeId));
  }

  tasksOfNetwork(networkId: string): readonly Task[] {
    return this.group<Task>(groupKey.networkTasks(networkId));
  }

  servicesOfNetwork(networkId: string): readonly Service[] {
    return this.group<Service>(groupKey.networkServices(networkId));
  }

  publishedServices(): readonly Service[] {
    return this.group<Service>(groupKey.publishedServices);
  }

  serviceByPort(protocol: PortProtocol, port: number): Service | undefined {
    const id = this.holder("port", portKey(protocol, port));
    return id === undefined ? undefined : this.get("service", id);
  }

  ingressNetwork(): Network | undefined {
    const id = this.holder("ingress", "");
    return id === undefined ? undefined : this.get("network", id);
  }

  newTasks(): readonly Task[] {
    return this.group<Task>(groupKey.newTasks);
  }

  serviceByName(name: string): Service | undefined {
    const id = this.holder("service", name);
    return id === undefined ? undefined : this.get("service", id);
  }

  containerByName(name: string): Task | undefined {
    const id = this.holder("container", name);
    return id === undefined ? undefined : this.get("task", id);
  }

  networkByName(name: string): Network | undefined {
    const id = this.holder("network", name);
    return id === undefined ? undefined : this.get("network", id);
  }

  addressHolder(networkId: string, address: string): string | undefined {
    return this.holder(addressSpace(networkId), address);
  }

  heldAddresses(networkId: string): ReadonlySet<string> {
    return new AddressView(this.tables.claims.get(addressSpace(networkId)));
  }

  protected group<O extends Task | Service>(key: string): O[] {
    return [...(this.tables.groups.get(key)?.values() ?? [])] as O[];
  }

  protected holder(space: string, key: string): string | undefined {
    return this.tables.claims.get(space)?.get(key);
  }
}
