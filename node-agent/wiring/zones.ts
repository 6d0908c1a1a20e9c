// From the node's view to what the DNS server of each container knows. Names are kept by network, for all its containers;
// an update costs a look at each service, and work only for those that changed.

import { NetworkNames } from "#net/dns/network-names.ts";
import type { Zone, ZoneNetwork } from "#net/dns/zone.ts";
import type { DnsService } from "#net/model/dns.ts";
import type { View } from "#node-agent/session/view.ts";
import type { ServiceEndpoint } from "#proto/gen/dispatcher.ts";
import { type Network, PortProtocol, type Task } from "#proto/gen/types.ts";

export type ZoneView = Pick<View, "networks" | "services" | "tasks">;

const PROTOCOLS: Partial<Record<PortProtocol, "tcp" | "udp" | "sctp">> = {
  [PortProtocol.TCP]: "tcp",
  [PortProtocol.UDP]: "udp",
  [PortProtocol.SCTP]: "sctp",
};

const toService = (endpoint: ServiceEndpoint, backends: ServiceEndpoint["backends"]): DnsService => ({
  name: endpoint.name,
  stack: endpoint.stack,
  aliases: endpoint.aliases,
  mode: endpoint.vip4 === "" && endpoint.vip6 === "" ? "dnsrr" : "vip",
  vip4: endpoint.vip4,
  vip6: endpoint.vip6,
  backends: backends.map((b) => ({
    slot: b.slot === 0 ? "" : String(b.slot),
    name: b.taskName,
    ipv4: b.ipv4,
    ipv6: b.ipv6,
    taskId: b.taskId,
  })),
  ports: endpoint.ports.flatMap(({ name, protocol, target }) => {
    const known = PROTOCOLS[protocol];
    return name !== "" && known ? [{ name, protocol: known, port: target }] : [];
  }),
});

/** Names within a stack's network carry the stack as a prefix; its containers also know them without. */
const withoutStack = (name: string, stack: string): string[] =>
  stack !== "" && name.startsWith(`${stack}_`) ? [name.slice(stack.length + 1)] : [];

/** A bridge ends at its node: what runs elsewhere has other containers' addresses here. */
const isLocal = (network: Network | undefined): boolean => network?.spec?.driver === "bridge";

export class Zones {
  readonly #names = new Map<string, NetworkNames>();
  readonly #zones = new Map<string, Zone>();
  /** An endpoint that did not change is the same object in the next view. */
  readonly #converted = new WeakMap<ServiceEndpoint, DnsService>();
  #view: ZoneView;

  constructor(view: ZoneView) {
    this.#view = view;
    this.#distribute();
  }

  /** True: zones given out before may be of other networks than now, and are to be asked for again. */
  update(view: ZoneView): boolean {
    const { networks, services } = this.#view;
    this.#view = view;
    const renewed = view.networks !== networks;
    if (renewed) {
      this.#zones.clear();
      for (const id of this.#names.keys()) if (!view.networks.has(id)) this.#names.delete(id);
    }
    if (renewed || view.services !== services) this.#distribute();
    return renewed;
  }

  /** Containers on the same networks in the same stack share one zone. */
  of({ stack, attachments }: Pick<Task, "stack" | "attachments">): Zone {
    const ids = attachments.map((a) => a.networkId);
    const key = [stack, ...ids].join(" ");
    let zone = this.#zones.get(key);
    if (!zone) this.#zones.set(key, (zone = { stack, networks: ids.map((id) => this.#network(id, stack)) }));
    return zone;
  }

  #network(id: string, stack: string): ZoneNetwork {
    const found = this.#view.networks.get(id);
    const name = found?.spec?.annotations?.name ?? id;
    return {
      name,
      suffixes: [name, ...withoutStack(name, stack)].map((suffix) => suffix.toLowerCase()),
      internal: found?.spec?.internal ?? false,
      subnets: found?.subnets.map((s) => s.subnet) ?? [],
      names: this.#namesOf(id),
    };
  }

  #namesOf(id: string): NetworkNames {
    let names = this.#names.get(id);
    if (!names) this.#names.set(id, (names = new NetworkNames()));
    return names;
  }

  #distribute(): void {
    const byNetwork = Map.groupBy(this.#view.services.values(), (s) => s.networkId);
    for (const id of new Set([...this.#names.keys(), ...byNetwork.keys()]))
      this.#namesOf(id).update(
        (byNetwork.get(id) ?? []).filter((e) => this.#isHere(e)).map((endpoint) => this.#convert(endpoint)),
      );
  }

  /** A task that speaks for itself has no name on the bridges of other nodes; services have one everywhere. */
  #isHere({ networkId, serviceId, backends }: ServiceEndpoint): boolean {
    const ofTask = backends[0]?.taskId === serviceId;
    return !ofTask || !isLocal(this.#view.networks.get(networkId)) || this.#view.tasks.has(serviceId);
  }

  #convert(endpoint: ServiceEndpoint): DnsService {
    let service = this.#converted.get(endpoint);
    if (!service) {
      const { tasks, networks } = this.#view;
      const local = isLocal(networks.get(endpoint.networkId));
      const backends = local ? endpoint.backends.filter((b) => tasks.has(b.taskId)) : endpoint.backends;
      this.#converted.set(endpoint, (service = toService(endpoint, backends)));
    }
    return service;
  }
}
