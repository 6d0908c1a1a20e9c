// Ways out, and what must not become one: source translation where packets leave a host or an overlay, and no forwarding
// between networks or into internal ones.

import { familyOf, splitPrefix } from "#net/model/cidr.ts";
import type { PublishedPort } from "#net/model/host-networks.ts";
import { OVERLAY_UPLINK } from "#net/model/ifname.ts";
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

/** A link of ours in the host's namespace behind which containers are: a bridge, or the way out of an overlay. */
export type Door = {
  readonly link: string;
  readonly prefixes: readonly string[];
  readonly internal: boolean;
  /** Hosts pass on to its containers what they accept for published ports, and nothing else. */
  readonly mesh?: boolean;
};

/** In the host's namespace. */
export const hostRuleset = (doors: readonly Door[], published: readonly PublishedPort[]): Ruleset | undefined => {
  if (doors.length === 0) return undefined;
  const all = anyOf(quoted(doors.map((door) => door.link)));
  const internal = doors.filter((door) => door.internal).map((door) => door.link);
  const publish = publishRules(published, doors);
  const forward: string[] = [...publish.forward];
  if (internal.length > 0)
    forward.push(`iifname ${anyOf(quoted(internal))} drop`, `oifname ${anyOf(quoted(internal))} drop`);
  forward.push(`iifname ${all} oifname ${all} jump between`);
  for (const { link, mesh } of doors) if (mesh) forward.push(`oifname "${link}" ct state new drop`);
  const between = doors.map(({ link }) => `iifname "${link}" oifname "${link}" return`);
  const masquerade = doors
    .filter((door) => !door.internal)
    .flatMap(({ link, prefixes }) =>
      prefixes.map((prefix) => {
        const ip = familyOf(splitPrefix(prefix).address) === 4 ? "ip" : "ip6";
        return `${ip} saddr ${prefix} oifname != "${link}" masquerade`;
      }),
    );
  const chains: Chain[] = [
    ...publish.chains,
    { name: "between", rules: [...between, "drop"] },
    { name: "forward", hook: "filter hook forward priority 0", rules: forward },
    { name: "postrouting", hook: "nat hook postrouting priority 100", rules: [...publish.postrouting, ...masquerade] },
  ];
  return makeRuleset(chains);
};
