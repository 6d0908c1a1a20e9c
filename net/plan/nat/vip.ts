// Virtual addresses, translated in the namespace of the container that connects: the backend sees the client's real
// address and no hop is added. Only the first packet of a connection meets these rules. A backend in the same container
// works too: the translated packet is routed again and goes over lo.
// A virtual address without backends refuses at once instead of letting clients wait.

import type { VirtualService } from "#net/model/host-networks.ts";
import { arrange, nowhere, type Placed, type PlacedChoice } from "#net/plan/nat/choices.ts";
import { anyOf, type Chain, makeRuleset } from "#net/plan/nat/ruleset.ts";
import type { Ruleset } from "#net/plan/target.ts";

type Vip = { readonly address: string; readonly backends: readonly string[] };
const FAMILIES = [
  { family: 4, ip: "ip", unreachable: "icmp type host-unreachable" },
  { family: 6, ip: "ip6", unreachable: "icmpv6 type addr-unreachable" },
] as const;

/**
 * Rules for a container that sees these services. Where networks overlap and an address appears twice, the first counts.
 * `placed`: in containers that see the same services.
 */
export const vipRuleset = (services: readonly VirtualService[], placed: Placed = nowhere): Ruleset | undefined => {
  const byFamily = [
    vipsOf(services.map((s) => ({ address: s.ipv4, backends: s.backends.map((b) => b.ipv4) }))),
    vipsOf(services.map((s) => ({ address: s.ipv6, backends: s.backends.map((b) => b.ipv6) }))),
  ] as const;
  if (byFamily.every((vips) => vips.length === 0)) return undefined;
  const choices: PlacedChoice[] = [];
  const dispatch: string[] = [];
  const refuse: string[] = [];
  FAMILIES.forEach(({ family, ip, unreachable }, i) => {
    const vips = byFamily[i]!;
    if (vips.length === 0) return;
    // Also those without backends: the first one that comes is then a change like any other.
    for (const vip of vips) {
      const name = chainName(vip);
      choices.push({ name, family, slots: arrange(placed(name), vip.backends) });
    }
    dispatch.push(`${ip} daddr vmap ${anyOf(vips.map((vip) => `${vip.address} : goto ${chainName(vip)}`))}`);
    const all = anyOf(vips.map((vip) => vip.address));
    refuse.push(
      `${ip} daddr ${all} meta l4proto tcp reject with tcp reset`,
      `${ip} daddr ${all} reject with ${unreachable}`,
    );
  });
  // Translation (-100) comes before the filter (0), so what still carries a virtual address there has no backend. The first
  // rule keeps conntrack on: without any rule that needs it the kernel switches it off, and established connections lose
  // their translation.
  const chains: Chain[] = [
    { name: "output", hook: "nat hook output priority -100", rules: dispatch },
    { name: "unanswered", hook: "filter hook output priority 0", rules: ["ct status dnat accept", ...refuse] },
  ];
  return makeRuleset(chains, choices);
};

const vipsOf = (all: readonly Vip[]): readonly Vip[] => {
  const seen = new Map<string, Vip>();
  for (const { address, backends } of all)
    if (address !== "" && !seen.has(address))
      seen.set(address, { address, backends: backends.filter((b) => b !== "") });
  return [...seen.values()];
};

const chainName = (vip: Vip): string => `vip_${vip.address.replaceAll(/[.:]/g, "_")}`;
