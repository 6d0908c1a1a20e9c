// Ways out, and what must not become one: source translation where packets leave a host or an overlay, and no forwarding
// between networks or into internal ones.

import { familyOf, splitPrefix } from "#net/model/cidr.ts";
import { OVERLAY_UPLINK } from "#net/model/ifname.ts";
import { anyOf, type Chain, makeRuleset, quoted } from "#net/plan/nat/ruleset.ts";
import type { Ruleset } from "#net/plan/target.ts";

/** In an overlay's namespace: containers leave with the transit address, so overlapping subnets don't meet on the host. */
export const overlayRuleset = (): Ruleset =>
  makeRuleset([
    {
      name: "postrouting",
      hook: "nat hook postrouting priority 100",
      rules: [`oifname "${OVERLAY_UPLINK}" masquerade`],
    },
  ])!;

/** A link of ours in the host's namespace behind which containers are: a bridge, or the way out of an overlay. */
export type Door = { readonly link: string; readonly prefixes: readonly string[]; readonly internal: boolean };

/** In the host's namespace. */
export const hostRuleset = (doors: readonly Door[]): Ruleset | undefined => {
  if (doors.length === 0) return undefined;
  const all = anyOf(quoted(doors.map((door) => door.link)));
  const internal = doors.filter((door) => door.internal).map((door) => door.link);
  const forward: string[] = [];
  if (internal.length > 0)
    forward.push(`iifname ${anyOf(quoted(internal))} drop`, `oifname ${anyOf(quoted(internal))} drop`);
  forward.push(`iifname ${all} oifname ${all} jump between`);
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
    { name: "between", rules: [...between, "drop"] },
    { name: "forward", hook: "filter hook forward priority 0", rules: forward },
    { name: "postrouting", hook: "nat hook postrouting priority 100", rules: masquerade },
  ];
  return makeRuleset(chains);
};
