// Published ports, in the host's namespace: a connection to a port of the host is translated to a backend and forwarded
// without touching its source, so the backend sees the client. Only the first packet of a connection meets these rules.
//
// What the host itself sends from its loopback address can't be answered from elsewhere: it leaves with the address of the
// link that it takes, and so does what would come back over the link that it came from. IPv6 has no such way for ::1 (the
// kernel has no route_localnet for it): a connection to [::1] is refused.

import { contains, familyOf, splitPrefix } from "#net/model/cidr.ts";
import type { PublishedPort } from "#net/model/host-networks.ts";
import { arrange, type Placed, type PlacedChoice } from "#net/plan/nat/choices.ts";
import type { Door } from "#net/plan/nat/masquerade.ts";
import { anyOf, type Chain, quoted } from "#net/plan/nat/ruleset.ts";

const PUBLISHED = "published";
const FAMILIES = [
  { family: 4, ip: "ip" },
  { family: 6, ip: "ip6" },
] as const;

export type PublishRules = {
  readonly chains: readonly Chain[];
  readonly choices: readonly PlacedChoice[];
  /** Before every other rule of their chains. */
  readonly forward: readonly string[];
  readonly postrouting: readonly string[];
};

/** `doors`: the links behind which backends are. */
export const publishRules = (
  published: readonly PublishedPort[],
  doors: readonly Door[],
  placed: Placed,
): PublishRules => {
  if (published.length === 0) return { chains: [], choices: [], forward: [], postrouting: [] };
  const isRouted: IsRouted = (address) =>
    doors.some(({ prefixes }) => prefixes.some(({ prefix, routed }) => routed && contains(prefix, address)));
  const links = anyOf(quoted(doors.map(({ link }) => link)));
  const dispatch = "fib daddr type local jump published";
  return {
    chains: [
      ...published.map((port) => ({
        name: chainName(port),
        rules: familiesOf(port).map(({ family, ip }) => `meta nfproto ipv${family} goto ${choiceName(port, ip)}`),
      })),
      { name: PUBLISHED, rules: dispatchRules(published) },
      // A container could otherwise reach what listens on the host's loopback address only: see `route_localnet`.
      {
        name: "loopback",
        hook: "filter hook prerouting priority -300",
        rules: [`iifname ${links} ip daddr 127.0.0.0/8 drop`],
      },
      { name: "prerouting", hook: "nat hook prerouting priority -100", rules: [dispatch] },
      { name: "output", hook: "nat hook output priority -100", rules: ["ip6 daddr ::1 accept", dispatch] },
      ...unanswered(published),
    ],
    choices: published.flatMap((port) => choicesOf(port, isRouted, placed)),
    forward: ["ct status dnat accept", ...published.flatMap((port) => open(port, isRouted))],
    postrouting: [
      `ip saddr 127.0.0.0/8 oifname ${links} masquerade`,
      ...doors.flatMap(({ link, prefixes }) =>
        prefixes.map(({ prefix }) => {
          const { ip } = FAMILIES.find(({ family }) => family === familyOf(splitPrefix(prefix).address))!;
          return `${ip} saddr ${prefix} oifname "${link}" ct status dnat masquerade`;
        }),
      ),
    ],
  };
};

/**
 * Datagrams that nothing was found for would go to the socket by which the agent keeps the port, and be silently lost there.
 * TCP needs no rule: nobody listens on that socket.
 */
const unanswered = (published: readonly PublishedPort[]): Chain[] => {
  const rules = published
    .filter(({ protocol }) => protocol === "udp")
    .map(({ port, hostIp }) => {
      const at = hostIp === "" ? "" : `${familyOf(hostIp) === 4 ? "ip" : "ip6"} daddr ${hostIp} `;
      return `${at}udp dport ${port} reject with icmpx port-unreachable`;
    });
  return rules.length === 0 ? [] : [{ name: "unanswered", hook: "filter hook input priority 0", rules }];
};

const dispatchRules = (published: readonly PublishedPort[]): string[] => {
  const bound = published.filter(({ hostIp }) => hostIp !== "");
  const anywhere = published.filter(({ hostIp }) => hostIp === "");
  const rules = bound.map((port) => {
    const ip = familyOf(port.hostIp) === 4 ? "ip" : "ip6";
    return `${ip} daddr ${port.hostIp} ${port.protocol} dport ${port.port} goto ${chainName(port)}`;
  });
  for (const [protocol, ports] of Map.groupBy(anywhere, ({ protocol }: PublishedPort) => protocol))
    rules.push(`${protocol} dport vmap ${anyOf(ports.map((port) => `${port.port} : goto ${chainName(port)}`))}`);
  return rules;
};

type IsRouted = (address: string) => boolean;

const addressesOf = ({ backends }: PublishedPort, family: 4 | 6): string[] =>
  backends.map(({ ipv4, ipv6 }) => (family === 4 ? ipv4 : ipv6)).filter((a) => a !== "");

/** Where containers are reached by their own addresses, publishing a port lets it be reached. */
const open = (port: PublishedPort, isRouted: IsRouted): string[] =>
  FAMILIES.flatMap(({ family, ip }) =>
    addressesOf(port, family)
      .filter(isRouted)
      .map((address) => `${ip} daddr ${address} ${port.protocol} dport ${port.target} accept`),
  );

/** A port of one address is reached by its family only. */
const familiesOf = ({ hostIp }: PublishedPort) =>
  FAMILIES.filter(({ family }) => hostIp === "" || family === familyOf(hostIp));

const choicesOf = (port: PublishedPort, isRouted: IsRouted, placed: Placed): PlacedChoice[] =>
  familiesOf(port).map(({ family, ip }) => {
    const name = choiceName(port, ip);
    const backends = addressesOf(port, family).filter((address) => !isRouted(address));
    const { protocol, target } = port;
    return { name, family, port: { protocol, target }, slots: arrange(placed(name), backends) };
  });

const choiceName = (port: PublishedPort, ip: string): string => `${chainName(port)}_${ip}`;

const chainName = ({ protocol, port, hostIp }: PublishedPort): string =>
  `${protocol}_${port}${hostIp === "" ? "" : `_${hostIp.replaceAll(/[.:]/g, "_")}`}`;
