// What a container's namespace has whatever its networks are: IPv6 only with an IPv6 address, the default routes, and the
// virtual addresses of the services that it sees.

import { familyOf } from "#net/model/cidr.ts";
import type { HostNetwork, LocalContainer } from "#net/model/host-networks.ts";
import { DEFAULT_ROUTE, MAIN_TABLE, routeKey } from "#net/model/host-state.ts";
import { type Ruleset, type Target, targetNamespace, wantRoute } from "#net/plan/target.ts";

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
  const on = container.attachments.map((a) => networks.get(a.networkId)!);
  // The first network that leads out in a family is the way out in it.
  container.attachments.forEach((attachment, i) => {
    if (on[i]!.internal) return;
    for (const { gateway } of on[i]!.subnets) {
      const family = familyOf(gateway);
      const address = family === 4 ? attachment.ipv4 : attachment.ipv6;
      const destination = DEFAULT_ROUTE[family];
      const route = { table: MAIN_TABLE, destination, via: gateway, link: attachment.ifname };
      if (address !== "" && !ns.routes.has(routeKey(route))) wantRoute(ns, route);
    }
  });
  ns.ruleset = rulesetFor(on);
};
