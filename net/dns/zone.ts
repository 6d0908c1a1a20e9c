// What a container's networks know of a name. Pure: the order of several addresses comes from `random`.
//
// Each name of network-names.ts also answers as `….<network>`, and `_<port>._<protocol>.<name>` has SRV records. Which of
// several holders of one name answers: the asking container's own stack first, then the kind of name (a service's name, its
// alias, a derived name), then the earlier network. Holders that are still equal answer together.
import type { Random } from "#base/random.ts";
import { contains } from "#net/model/cidr.ts";
import type { DnsBackend, DnsService } from "#net/model/dns.ts";
import { backendName, type Holder, type NetworkNames, some } from "./network-names.ts";
import { reversedAddress } from "./reverse.ts";

export const TTL_SECONDS = 5;

export type Zone = {
  /** Stack of the asking container; "" for none. */
  readonly stack: string;
  /** The container's networks, in its order. */
  readonly networks: readonly ZoneNetwork[];
};

export type ZoneNetwork = {
  readonly name: string;
  /** What names may end in, lower case: its name, and that without the stack's prefix. */
  readonly suffixes: readonly string[];
  readonly internal: boolean;
  readonly subnets: readonly string[];
  readonly names: NetworkNames;
};

/** `name`: only where it is not the question's. */
export type ZoneRecord =
  | { readonly type: "A" | "AAAA" | "PTR"; readonly name?: string; readonly data: string }
  | { readonly type: "SRV"; readonly name?: string; readonly port: number; readonly data: string };

export type Verdict =
  | { readonly kind: "records"; readonly answers: readonly ZoneRecord[]; readonly additionals: readonly ZoneRecord[] }
  /** The name is ours and has nothing of that type. */
  | { readonly kind: "nodata" }
  /** The name can only be ours, and nobody has it. */
  | { readonly kind: "nxdomain" }
  /** Nobody here has it: perhaps a name from outside. */
  | { readonly kind: "unknown" };

/** `name` without the final dot, in any case. */
export const resolve = (zone: Zone, name: string, type: string, random: Random): Verdict => {
  const key = name.toLowerCase();
  if (key.endsWith(".arpa")) {
    const found = reverse(zone, key, type);
    if (found) return found;
  }
  const holders = holdersOf(zone, key);
  if (holders?.length) return addresses(holders, type, random);
  const srv = /^_([^.]+)\._(tcp|udp|sctp)\.(.+)$/.exec(key);
  const offering = srv && holdersOf(zone, srv[3]!);
  if (offering) return services(offering, srv[1]!, srv[2]!, type, random);
  return { kind: holders || isOurForm(zone, key) ? "nxdomain" : "unknown" };
};

type Found = { readonly holder: Holder; readonly network: ZoneNetwork };

/** Those that answer. Empty: formed from names of ours, and nobody has it. Undefined: nothing to do with ours. */
const holdersOf = (zone: Zone, key: string): readonly Found[] | undefined => {
  let best = Number.POSITIVE_INFINITY;
  let found: Found[] | undefined;
  for (const [position, network] of zone.networks.entries()) {
    const candidates = [network.names.find(key)];
    for (const suffix of network.suffixes)
      if (key.length > suffix.length && key.endsWith(suffix) && key.at(-suffix.length - 1) === ".")
        candidates.push(network.names.find(key.slice(0, -suffix.length - 1)));
    for (const holders of candidates) {
      if (!holders) continue;
      found ??= [];
      for (const holder of holders) {
        const foreign = holder.service.stack === "" || holder.service.stack !== zone.stack;
        const rank = (foreign ? 1e9 : 0) + holder.kind * 1e6 + position;
        if (rank > best) continue;
        if (rank < best) found = [];
        best = rank;
        found.push({ holder, network });
      }
    }
  }
  return found;
};

/** Names that would tell a resolver outside about the cluster, and that it can't know. */
const isOurForm = (zone: Zone, key: string): boolean => {
  const suffixes = zone.networks.flatMap((n) => n.suffixes);
  // No domain of the Internet has an underscore in its last label.
  if (suffixes.some((s) => s.includes("_") && key.endsWith(`.${s}`))) return true;
  const bare = suffixes.find((s) => key.endsWith(`.${s}`));
  const own = bare === undefined ? key : key.slice(0, -bare.length - 1);
  return /^tasks\.[^.]+$/.test(key) || /^tasks\.[^.]+$/.test(own);
};

const addresses = (found: readonly Found[], type: string, random: Random): Verdict => {
  const answers: ZoneRecord[] = [];
  for (const [family, asked] of [
    ["A", "ipv4"],
    ["AAAA", "ipv6"],
  ] as const) {
    if (type !== family && type !== "ANY") continue;
    const data = new Set(found.flatMap(({ holder }) => addressesOf(holder, asked)));
    for (const address of shuffled([...data], random)) answers.push({ type: family, data: address });
  }
  return records(answers);
};

const addressesOf = ({ service, backends }: Holder, family: "ipv4" | "ipv6"): string[] =>
  backends ? backends.flatMap((b) => some(b[family])) : some(family === "ipv4" ? service.vip4 : service.vip6);

/** RFC 2782: one record for a virtual address, else one for each backend; equal priority and weight. */
const services = (found: readonly Found[], port: string, protocol: string, type: string, random: Random): Verdict => {
  const targets = new Map<string, { readonly port: number; readonly ipv4: string; readonly ipv6: string }>();
  for (const { holder, network } of found) {
    const { service } = holder;
    const offered = service.ports.find((p) => p.name.toLowerCase() === port && p.protocol === protocol);
    if (!offered) continue;
    const add = (label: string, { ipv4, ipv6 }: Pick<DnsBackend, "ipv4" | "ipv6">) => {
      const target = `${label}.${network.name}`;
      if (isDnsName(target)) targets.set(target, { port: offered.port, ipv4, ipv6 });
    };
    if (!holder.backends) add(service.name, { ipv4: service.vip4, ipv6: service.vip6 });
    for (const backend of holder.backends ?? []) add(targetName(service, backend), backend);
  }
  if (targets.size === 0) return { kind: "nxdomain" };
  if (type !== "SRV") return { kind: "nodata" };
  const order = shuffled([...targets], random);
  return {
    kind: "records",
    answers: order.map(([data, target]) => ({ type: "SRV", data, port: target.port })),
    additionals: order.flatMap(([name, { ipv4, ipv6 }]): ZoneRecord[] => [
      ...some(ipv4).map((data) => ({ type: "A", name, data }) as const),
      ...some(ipv6).map((data) => ({ type: "AAAA", name, data }) as const),
    ]),
  };
};

/** Unlike the backend's name in general it must stand for this backend only. */
const targetName = (service: DnsService, backend: DnsBackend): string => {
  const name = backendName(service, backend);
  return name === service.name && backend.taskId !== "" ? backend.taskId : name;
};

/** Addresses of the container's networks are nobody else's affair, whether they have a name or not. */
const reverse = (zone: Zone, key: string, type: string): Verdict | undefined => {
  const address = reversedAddress(key);
  if (address === undefined) return undefined;
  const names = zone.networks.flatMap(({ name, names: known }) => known.pointers(address).map((n) => `${n}.${name}`));
  const valid = [...new Set(names)].filter(isDnsName);
  if (valid.length > 0)
    return records(type === "PTR" || type === "ANY" ? valid.map((data) => ({ type: "PTR", data })) : []);
  const inside = zone.networks.some((n) => n.subnets.some((subnet) => contains(subnet, address)));
  return inside ? { kind: "nxdomain" } : undefined;
};

/** RFC 1035 §2.3.4. Names that don't fit are never asked for, but could be the answer to a question. */
const isDnsName = (name: string): boolean =>
  name.length <= 253 && name.split(".").every((label) => /^[\x21-\x7e]{1,63}$/.test(label));

const records = (answers: readonly ZoneRecord[]): Verdict =>
  answers.length === 0 ? { kind: "nodata" } : { kind: "records", answers, additionals: [] };

const shuffled = <T>(list: readonly T[], random: Random): T[] => {
  const copy = [...list];
  for (let i = copy.length - 1; i > 0; i--) {
    const j = random.int(i + 1);
    [copy[i], copy[j]] = [copy[j]!, copy[i]!];
  }
  return copy;
};
