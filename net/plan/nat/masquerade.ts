// Ways out and in: source translation where packets leave a host or an overlay, no forwarding between networks or into
// internal ones, and none from outside but to published ports.

import { familyOf, splitPrefix } from "#net/model/cidr.ts";
import type { PublishedPort } from "#net/model/host-networks.ts";
import { OVERLAY_UPLINK } from "#net/model/ifname.ts";
import type { Placed } from "#net/plan/nat/choices.ts";
import { publishRules } from "#net/plan/nat/publish.ts";
import { anyOf, type Chain, makeRuleset, quoted } from "#net/plan/nat/ruleset.ts";
import type { Ruleset } from "#net/plan/target.ts";

/** In an overlay's namespace: containers leave with the transit address, so overlapping subnets don't meet on the host. */
export const overlayRuleset = (mesh: readonly Chain[]): Ruleset =>
  makeRuleset([
    ...mesh,
    {
      name: "postrouting",
      hook: "nat hook postrouting priority 100",
      rules: [`oifname "${OVERLAY_UPLINK}" masquerade`],
    },
  ])!;

export type DoorPrefix = {
  readonly prefix: string;
  /** What leaves the host has the host's address. */
  readonly masquerade: boolean;
  /** Reached from outside by its own addresses: ports are open, not translated. */
  readonly routed: boolean;
};

/** A link of ours in the host's namespace behind which containers are: a bridge, or the way out of an overlay. */
export type Door = { readonly link: string; readonly prefixes: readonly DoorPrefix[]; readonly internal: boolean };

/** In the host's namespace. `placed`: in its table. */
export const hostRuleset = (
  doors: readonly Door[],
  published: readonly PublishedPort[],
  placed: Placed,
): Ruleset | undefined => {
  if (doors.length === 0) return undefined;
  const publish = publishRules(published, doors, placed);
  const all = anyOf(quoted(doors.map((door) => door.link)));
  const internal = anyOf(quoted(doors.filter((door) => door.internal).map((door) => door.link)));
  const hasInternal = doors.some((door) => door.internal);
  const routed = doors.flatMap(({ prefixes }) => prefixes.filter((p) => p.routed).map(({ prefix }) => prefix));
  const forward = [
    ...publish.forward,
    `iifname ${all} oifname ${all} jump between`,
    ...(hasInternal ? [`iifname ${internal} drop`, `oifname ${internal} drop`] : []),
    ...routed.map((prefix) => `${ipOf(prefix)} daddr ${prefix} meta l4proto { icmp, icmpv6 } accept`),
    `iifname != ${all} oifname ${all} ct state new drop`,
  ];
  // With br_netfilter what crosses a bridge comes by here.
  const between = doors.map(({ link }) => `iifname "${link}" oifname "${link}" accept`);
  const masquerade = doors
    .filter((door) => !door.internal)
    .flatMap(({ link, prefixes }) =>
      prefixes
        .filter((p) => p.masquerade)
        .map(({ prefix }) => `${ipOf(prefix)} saddr ${prefix} oifname != "${link}" masquerade`),
    );
  const chains: Chain[] = [
    ...publish.chains,
    { name: "between", rules: [...between, "drop"] },
    { name: "forward", hook: "filter hook forward priority 0", rules: forward },
    {
      name: "postrouting",
      hook: "nat hook postrouting priority 100",
      rules: [...publish.postrouting, ...masquerade],
    },
  ];
  return makeRuleset(chains, publish.choices);
};

const ipOf = (prefix: string): string => (familyOf(splitPrefix(prefix).address) === 4 ? "ip" : "ip6");
