// Names of a container's networks → addresses, and back. Pure: the order of several addresses comes from `random`.
//
// Per service S (full name, name within its stack, aliases), on each network N, each also as `….N`:
//   S               virtual address, or every backend in mode dnsrr
//   tasks.S         every backend
//   <slot>.S, S.<slot>, <container name>, <task id>   one backend
// Which of several holders of one name answers: the asking container's own stack first, then the kind of name (a
// service's name, its alias, a derived name), then the earlier network. Holders that are still equal answer together.
import type { Random } from "#base/random.ts";
import { familyOf, parseAddress } from "#net/model/cidr.ts";
import type { DnsNetwork, DnsService, DnsZone } from "#net/model/dns.ts";

export const TTL_SECONDS = 5;

export type ZoneRecord = {
  readonly name: string;
  readonly type: "A" | "AAAA" | "PTR";
  readonly ttl: number;
  readonly data: string;
};
export type Verdict =
  | { readonly kind: "records"; readonly records: readonly ZoneRecord[] }
  /** The name is ours and has nothing of that type. */
  | { readonly kind: "nodata" }
  | { readonly kind: "nxdomain" }
  | { readonly kind: "forward" };

/** A zone prepared for questions. */
export type ZoneIndex = {
  readonly names: ReadonlyMap<string, Holder>;
  readonly pointers: ReadonlyMap<string, readonly string[]>;
  readonly forward: boolean;
};
type Holder = { rank: number; readonly ipv4: string[]; readonly ipv6: string[] };

const NAME = 0;
const ALIAS = 1;
const DERIVED = 2;
// Sorts before kind (below 10) and after stack (thousands).
const NETWORK_STEP = 10;
const FOREIGN_STACK = 1_000_000;

/** Work proportional to the names; questions are then one lookup. */
export const indexZone = (zone: DnsZone): ZoneIndex => {
  const names = new Map<string, Holder>();
  const pointers = new Map<string, string[]>();
  for (const [position, network] of zone.networks.entries()) {
    for (const service of network.services) {
      const stackRank = service.stack !== "" && service.stack === zone.stack ? 0 : FOREIGN_STACK;
      for (const { name, kind, ipv4, ipv6 } of namesOf(service)) {
        const rank = stackRank + kind * 10_000 + position * NETWORK_STEP;
        for (const suffix of ["", `.${network.name}`, ...network.aliases.map((a) => `.${a}`)]) {
          hold(names, `${name}${suffix}`.toLowerCase(), rank, ipv4, ipv6);
        }
      }
      for (const [address, name] of pointersOf(service, network)) {
        const key = reverseName(address);
        pointers.set(key, [...(pointers.get(key) ?? []), name]);
      }
    }
  }
  return { names, pointers, forward: zone.networks.some((n) => !n.internal) };
};

const hold = (names: Map<string, Holder>, key: string, rank: number, ipv4: string[], ipv6: string[]): void => {
  const present = names.get(key);
  if (present === undefined || rank < present.rank) names.set(key, { rank, ipv4: [...ipv4], ipv6: [...ipv6] });
  else if (rank === present.rank) {
    present.ipv4.push(...ipv4.filter((a) => !present.ipv4.includes(a)));
    present.ipv6.push(...ipv6.filter((a) => !present.ipv6.includes(a)));
  }
};

const some = (...addresses: string[]): string[] => addresses.filter((a) => a !== "");

type Named = { readonly name: string; readonly kind: number; readonly ipv4: string[]; readonly ipv6: string[] };

const namesOf = (service: DnsService): Named[] => {
  const tasks4 = service.backends.flatMap((b) => some(b.ipv4));
  const tasks6 = service.backends.flatMap((b) => some(b.ipv6));
  const vip = service.mode === "vip";
  const own = { ipv4: vip ? some(service.vip4) : tasks4, ipv6: vip ? some(service.vip6) : tasks6 };
  const prefix = `${service.stack}_`;
  const short = service.stack !== "" && service.name.startsWith(prefix) ? [service.name.slice(prefix.length)] : [];
  const bases = new Map<string, number>();
  for (const alias of service.aliases) bases.set(alias, ALIAS);
  for (const name of [service.name, ...short]) bases.set(name, NAME);

  const named: Named[] = [];
  for (const [base, kind] of bases) {
    named.push({ name: base, kind, ...own }, { name: `tasks.${base}`, kind: DERIVED, ipv4: tasks4, ipv6: tasks6 });
    for (const b of service.backends) {
      if (b.slot === "") continue;
      const one = { kind: DERIVED, ipv4: some(b.ipv4), ipv6: some(b.ipv6) };
      named.push({ name: `${b.slot}.${base}`, ...one }, { name: `${base}.${b.slot}`, ...one });
    }
  }
  for (const b of service.backends) {
    for (const name of some(b.name, b.taskId)) {
      if (!bases.has(name)) named.push({ name, kind: DERIVED, ipv4: some(b.ipv4), ipv6: some(b.ipv6) });
    }
  }
  return named;
};

const pointersOf = (service: DnsService, network: DnsNetwork): [address: string, name: string][] => {
  const found: [string, string][] = [];
  if (service.mode === "vip") {
    for (const a of some(service.vip4, service.vip6)) found.push([a, `${service.name}.${network.name}`]);
  }
  for (const b of service.backends) {
    const name = b.name !== "" ? b.name : b.slot === "" ? service.name : `${service.name}.${b.slot}`;
    for (const a of some(b.ipv4, b.ipv6)) found.push([a, `${name}.${network.name}`]);
  }
  return found.filter(([, name]) => isDnsName(name));
};

/** RFC 1035 §2.3.4. Names that don't fit are never asked for, but could be the answer to a reverse question. */
const isDnsName = (name: string): boolean =>
  name.length <= 253 && name.split(".").every((label) => label !== "" && /^[\x21-\x7e]{1,63}$/.test(label));

/** RFC 1035 §3.5 and RFC 3596 §2.5: "2.0.0.10.in-addr.arpa", nibbles for IPv6. */
export const reverseName = (address: string): string => {
  const v4 = familyOf(address) === 4;
  const digits = parseAddress(address)
    .toString(16)
    .padStart(v4 ? 8 : 32, "0");
  if (!v4) return `${[...digits].reverse().join(".")}.ip6.arpa`;
  const bytes = digits.match(/../g)!.map((pair) => Number.parseInt(pair, 16));
  return `${bytes.reverse().join(".")}.in-addr.arpa`;
};

/** `name` without the final dot, in any case; it comes back in the records as it was asked. */
export const resolve = (zone: ZoneIndex, name: string, type: string, random: Random): Verdict => {
  const key = name.toLowerCase();
  const pointers = zone.pointers.get(key);
  if (pointers !== undefined) {
    if (type !== "PTR") return { kind: "nodata" };
    return records(pointers.map((data) => ({ name, type: "PTR", ttl: TTL_SECONDS, data })));
  }
  const holder = zone.names.get(key);
  if (holder === undefined) return { kind: zone.forward ? "forward" : "nxdomain" };
  if (type !== "A" && type !== "AAAA") return { kind: "nodata" };
  const addresses = shuffled(type === "A" ? holder.ipv4 : holder.ipv6, random);
  return records(addresses.map((data) => ({ name, type, ttl: TTL_SECONDS, data })));
};

const records = (list: ZoneRecord[]): Verdict =>
  list.length === 0 ? { kind: "nodata" } : { kind: "records", records: list };

const shuffled = (list: readonly string[], random: Random): string[] => {
  const copy = [...list];
  for (let i = copy.length - 1; i > 0; i--) {
    const j = random.int(i + 1);
    [copy[i], copy[j]] = [copy[j]!, copy[i]!];
  }
  return copy;
};
