// What a container's namespace has whatever its networks are: IPv6 only with an IPv6 address, the default routes, the
// settings asked for, and the virtual addresses of the services that it sees.

import { contains, familyOf, splitPrefix } from "#net/model/cidr.ts";
import { ipvlanOptions } from "#net/model/driver-options.ts";
import type { Attachment, HostNetwork, LocalContainer } from "#net/model/host-networks.ts";
import { DEFAULT_ROUTE, MAIN_TABLE, routeKey, WAY_BACK } from "#net/model/host-state.ts";
import {
  type Ruleset,
  type Target,
  type TargetNamespace,
  targetNamespace,
  wantRoute,
  wantRule,
} from "#net/plan/target.ts";

export const planContainer = (
  container: LocalContainer,
  networks: ReadonlyMap<string, HostNetwork>,
  rulesetFor: (networks: readonly HostNetwork[]) => Ruleset | undefined,
  target: Target,
): void => {
  const ns = targetNamespace(target, container.netns);
  const hasIpv6 = container.attachments.some((a) => a.ipv6 !== "");
  ns.sysctls.set("net/ipv6/conf/all/disable_ipv6", hasIpv6 ? "0" : "1");
  // Addresses are ours to hand out, once: waiting for a duplicate would only delay the start.
  if (hasIpv6) ns.sysctls.set("net/ipv6/conf/all/accept_dad", "0").set("net/ipv6/conf/default/accept_dad", "0");
  const on = container.attachments.map((attachment) => ({ attachment, network: networks.get(attachment.networkId)! }));
  for (const { attachment } of on)
    for (const [key, value] of Object.entries(attachment.sysctls))
      ns.sysctls.set(key.replaceAll(".", "/").replace("/IFNAME/", `/${attachment.ifname}/`), value);
  const byPriority = on.toSorted((a, b) => b.attachment.gatewayPriority - a.attachment.gatewayPriority);
  for (const place of byPriority) wantWaysOut(ns, place, on.indexOf(place), on.length === 1);
  ns.ruleset = rulesetFor(on.map(({ network }) => network));
};

const isRoutedByParent = ({ driver, options }: HostNetwork): boolean =>
  driver === "ipvlan" && ipvlanOptions(options).mode !== "l2";

/** Packets for published ports come in over it, translated by a host that must translate the answers too. */
const hasPublishedPorts = ({ mesh, driver }: HostNetwork): boolean => mesh !== undefined || driver === "bridge";

/**
 * The first network that leads out in a family is the way out in it. What came in for a published port goes back over the
 * network that it came in by, wherever the client is: so what has an address of such a network as its source leaves over it,
 * in a container that has others.
 */
const wantWaysOut = (
  ns: TargetNamespace,
  { attachment, network }: { readonly attachment: Attachment; readonly network: HostNetwork },
  place: number,
  alone: boolean,
): void => {
  if (network.internal) return;
  const { ifname } = attachment;
  for (const { gateway, subnet } of network.subnets) {
    const family = familyOf(gateway);
    const address = family === 4 ? attachment.ipv4 : attachment.ipv6;
    if (address === "" || !contains(subnet, splitPrefix(address).address)) continue;
    const via = isRoutedByParent(network) ? "" : gateway;
    const route = { table: MAIN_TABLE, destination: DEFAULT_ROUTE[family], via, link: ifname };
    if (!ns.routes.has(routeKey(route))) wantRoute(ns, route);
    if (alone || !hasPublishedPorts(network)) continue;
    const table = WAY_BACK.firstTable + place;
    wantRoute(ns, { ...route, table });
    wantRoute(ns, { table, destination: subnet, via: "", link: ifname });
    const from = `${splitPrefix(address).address}/${family === 4 ? 32 : 128}`;
    wantRule(ns, { family, priority: WAY_BACK.priority, from, mark: 0, table });
  }
};
