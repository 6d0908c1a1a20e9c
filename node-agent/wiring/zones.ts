// From the node's view to what the DNS server of each container knows. Containers on the same networks in the same stack
// share one zone object. Pure.
import type { DnsNetwork, DnsService, DnsZone } from "#net/model/dns.ts";
import type { View } from "#node-agent/session/view.ts";
import type { ServiceEndpoint } from "#proto/gen/dispatcher.ts";
import type { Task } from "#proto/gen/types.ts";

const toService = (endpoint: ServiceEndpoint): DnsService => ({
  name: endpoint.name,
  stack: endpoint.stack,
  aliases: endpoint.aliases,
  mode: endpoint.vip4 === "" && endpoint.vip6 === "" ? "dnsrr" : "vip",
  vip4: endpoint.vip4,
  vip6: endpoint.vip6,
  backends: endpoint.backends.map((b) => ({
    slot: String(b.slot),
    name: b.taskName,
    ipv4: b.ipv4,
    ipv6: b.ipv6,
    taskId: b.taskId,
  })),
});

export type Zones = { of(task: Task): DnsZone };

/** Names within a stack's network carry the stack as a prefix; its containers also know them without. */
const withoutStack = (name: string, stack: string): string[] =>
  stack !== "" && name.startsWith(`${stack}_`) ? [name.slice(stack.length + 1)] : [];

export const zonesOf = (view: Pick<View, "networks" | "services">): Zones => {
  const services = Map.groupBy(view.services.values(), (s) => s.networkId);
  const cache = new Map<string, DnsZone>();
  const network = (id: string, stack: string): DnsNetwork => {
    const found = view.networks.get(id);
    const name = found?.spec?.annotations?.name ?? id;
    return {
      name,
      aliases: withoutStack(name, stack),
      internal: found?.spec?.internal ?? false,
      services: (services.get(id) ?? []).map(toService),
    };
  };
  return {
    of({ stack, attachments }) {
      const key = [stack, ...attachments.map((a) => a.networkId)].join(" ");
      let zone = cache.get(key);
      if (!zone) cache.set(key, (zone = { stack, networks: attachments.map((a) => network(a.networkId, stack)) }));
      return zone;
    },
  };
};
