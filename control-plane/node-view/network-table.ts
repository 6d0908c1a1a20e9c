// What all nodes on one network share: one object for each item, whatever the number of nodes that see it.
import { sameData } from "#control-plane/orchestrator/same-data.ts";
import type { ReadTx } from "#control-plane/state/types.ts";
import type { Assignment } from "#proto/gen/dispatcher.ts";
import {
  endpointItem,
  endpointKey,
  memberItem,
  networkItem,
  networkKey,
  publishItem,
  publishKey,
  serviceItem,
  serviceKey,
  taskNameItem,
} from "./items.ts";

export type NetworkChanges = { readonly put: readonly Assignment[]; readonly removed: readonly Assignment[] };

/** The node that doesn't see this item, because it has the task itself; "" when all see it. */
export const hiddenFrom = (item: Assignment): string => (item.item?.$case === "endpoint" ? item.item.value.nodeId : "");

export class NetworkTable {
  readonly #id: string;
  readonly #items = new Map<string, Assignment>();

  constructor(state: ReadTx, id: string) {
    this.#id = id;
    const nodes = state.get("network", id)?.nodes.map((address) => address.nodeId) ?? [];
    const tasks = state.tasksOfNetwork(id).map((task) => task.id);
    const published = state.get("network", id)?.spec?.ingress ? state.publishedServices() : [];
    const services = new Set([...state.servicesOfNetwork(id), ...published].map((service) => service.id));
    this.refresh(state, { network: true, nodes, tasks, services });
  }

  items(): Iterable<Assignment> {
    return this.#items.values();
  }

  /** Computes these items anew and returns those that differ. */
  refresh(
    state: ReadTx,
    what: {
      readonly network: boolean;
      /** Members of the network of published ports. */
      readonly nodes: Iterable<string>;
      readonly tasks: Iterable<string>;
      readonly services: Iterable<string>;
    },
  ): NetworkChanges {
    const put: Assignment[] = [];
    const removed: Assignment[] = [];
    const set = (key: string, next: Assignment | undefined): void => {
      const old = this.#items.get(key);
      if (next === undefined) {
        if (old === undefined) return;
        this.#items.delete(key);
        removed.push(old);
      } else if (!sameData(old, next)) {
        this.#items.set(key, next);
        put.push(next);
      }
    };
    if (what.network) set(networkKey(this.#id), networkItem(state, this.#id));
    for (const nodeId of what.nodes) set(endpointKey(this.#id, nodeId), memberItem(state, this.#id, nodeId));
    for (const taskId of what.tasks) {
      set(endpointKey(this.#id, taskId), endpointItem(state, this.#id, taskId));
      set(serviceKey(this.#id, taskId), taskNameItem(state, this.#id, taskId));
    }
    for (const serviceId of what.services) {
      set(serviceKey(this.#id, serviceId), serviceItem(state, this.#id, serviceId));
      set(publishKey(serviceId), publishItem(state, this.#id, serviceId));
    }
    return { put, removed };
  }
}
