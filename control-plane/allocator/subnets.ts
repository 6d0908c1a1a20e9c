// Subnets and VNIs of networks: what the user asked for, or the next free piece of the pools.
import { refuse, TswarmError } from "#base/errors.ts";
import type { ReadTx } from "#control-plane/state/types.ts";
import { firstAddress } from "#net/ipam/addresses.ts";
import { freeSubnet, uniqueLocalPool } from "#net/ipam/pools.ts";
import { blockOf, canonicalPrefix } from "#net/ipam/prefix.ts";
import { canonicalAddress, type Family } from "#net/model/cidr.ts";
import { ipvlanOptions, LAST_VNI, overlayOptions } from "#net/model/driver-options.ts";
import { TRANSIT_PAIRS } from "#net/model/own-prefixes.ts";
import type { IpamConfig, NetworkSpec, Subnet } from "#proto/gen/types.ts";
import { findOverlap, type Taken, takenPrefixes } from "./taken.ts";

/** Like Swarm's: 10.0.0.0/8 in pieces of /24. IPv6: a unique local prefix (RFC 4193) in pieces of /64. */
export const DEFAULT_POOLS = { v4: ["10.0.0.0/8"], v4Length: 24, v6Length: 64 } as const;

/** The default bridge has no addresses from the cluster's pools, as in Docker: it is the same on every node, and big. */
const BRIDGE_POOLS = ["172.16.0.0/12", "192.168.0.0/16"] as const;
const BRIDGE_FIRST = "172.17.0.0/16";

/** Each node and each task with a published port has an address of the ingress network: a /24 would end at 250 of them. */
const INGRESS_LENGTH = 16;

/** As Swarm: below are VNIs for other users of the same hosts. */
const FIRST_VNI = 4096;

const ON_PARENT = new Set(["macvlan", "ipvlan"]);

/** Has the network addresses? */
export const needsSubnet = ({ driver, configOnly }: NetworkSpec): boolean =>
  !configOnly && (driver === "overlay" || driver === "bridge" || ON_PARENT.has(driver));

/** In l3 and l3s the parent routes by itself: no address is kept for a gateway unless the user names one. */
const routesWithoutGateway = (spec: NetworkSpec): boolean =>
  spec.driver === "ipvlan" && ipvlanOptions(spec.options).mode !== "l2";

const subnetOf = (spec: NetworkSpec, config: IpamConfig): Subnet => {
  const reserved = Object.entries(config.reserved).map(([name, address]) => [name, canonicalAddress(address)] as const);
  const addresses = reserved.map(([, address]) => address);
  const gateway = routesWithoutGateway(spec) ? "" : firstAddress(config.subnet, addresses);
  return {
    subnet: canonicalPrefix(config.subnet),
    range: config.range === "" ? "" : canonicalPrefix(config.range),
    gateway: config.gateway === "" ? gateway : canonicalAddress(config.gateway),
    reserved: Object.fromEntries(reserved),
  };
};

const asked = (spec: NetworkSpec, at: number, taken: readonly Taken[]): Subnet => {
  const config = spec.ipam[at]!;
  const other = findOverlap(taken, blockOf(config.subnet));
  if (other === undefined) return subnetOf(spec, config);
  throw refuse(
    "conflict",
    `ipam[${at}].subnet`,
    `${config.subnet} overlaps ${other.prefix} of ${other.owner}`,
    "Choose another subnet, or leave it out to get a free one",
  );
};

type Pool = { readonly pools: readonly string[]; readonly length: number };

/** Where the network's subnet is cut from: the first of these that has a free one. */
const poolsFor = (tx: ReadTx, spec: NetworkSpec, family: Family): Pool[] => {
  if (family === 4 && spec.driver === "bridge" && spec.annotations?.name === "bridge")
    return [
      { pools: [BRIDGE_FIRST], length: 16 },
      { pools: BRIDGE_POOLS, length: 16 },
      { pools: BRIDGE_POOLS, length: 20 },
    ];
  const cluster = tx.cluster();
  const given = (family === 4 ? cluster?.spec?.poolsV4 : cluster?.spec?.poolsV6) ?? [];
  const standard = family === 4 ? DEFAULT_POOLS.v4 : [uniqueLocalPool(cluster?.id ?? "")];
  const pools = given.length > 0 ? given : standard;
  const length =
    (family === 4 ? cluster?.spec?.poolV4Prefix : cluster?.spec?.poolV6Prefix) ||
    (family === 4 ? DEFAULT_POOLS.v4Length : DEFAULT_POOLS.v6Length);
  const big = family === 4 && spec.ingress && length > INGRESS_LENGTH;
  return big
    ? [
        { pools, length: INGRESS_LENGTH },
        { pools, length },
      ]
    : [{ pools, length }];
};

const fromPool = (tx: ReadTx, spec: NetworkSpec, family: Family, taken: readonly Taken[]): Subnet => {
  const blocks = taken.map((t) => t.block);
  const choices = poolsFor(tx, spec, family);
  for (const { pools, length } of choices) {
    const subnet = freeSubnet(pools, length, blocks);
    if (subnet !== undefined) return subnetOf(spec, { subnet, range: "", gateway: "", reserved: {} });
  }
  const { pools, length } = choices.at(-1)!;
  throw refuse(
    "exhausted",
    "ipam.subnet",
    `no free /${length} is left in the IPv${family} pools ${pools.join(", ")}`,
    "Remove unused networks, or name a subnet (--subnet)",
  );
};

/**
 * Subnets for a checked spec, IPv4 first: those that it asks for, and one from the pools for a family without any.
 * Throws TswarmError `conflict` (names the owner) or `exhausted`.
 */
export const allocateSubnets = (tx: ReadTx, spec: NetworkSpec): Subnet[] => {
  if (!needsSubnet(spec)) return [];
  const given = addSubnets(tx, spec, 0);
  const isGiven = (family: Family): boolean => given.some((s) => blockOf(s.subnet).family === family);
  // Where nothing is asked for, the pools' addresses must not be ones that a node uses already, also on a parent interface.
  const taken = takenPrefixes(tx, false);
  return ([4, 6] as const).flatMap((family) => {
    if (isGiven(family)) return given.filter((s) => blockOf(s.subnet).family === family);
    return (family === 4 ? spec.ipv4 : spec.ipv6) ? [fromPool(tx, spec, family, taken)] : [];
  });
};

/** The subnets that the spec asks for from its entry `from` on. Throws `conflict` as allocateSubnets. */
export const addSubnets = (tx: ReadTx, spec: NetworkSpec, from: number): Subnet[] => {
  const onParent = ON_PARENT.has(spec.driver) && !routesWithoutGateway(spec);
  const taken = takenPrefixes(tx, onParent);
  return spec.ipam.flatMap((config, at) => (at < from || config.subnet === "" ? [] : [asked(spec, at, taken)]));
};

/** By what makes them the same for a node: the remainder of the VNI. */
const usedVnis = (tx: ReadTx): Map<number, { readonly vni: number; readonly name: string }> => {
  const used = new Map<number, { vni: number; name: string }>();
  for (const { vni, spec, id } of tx.all("network"))
    if (vni !== 0) used.set(vni % TRANSIT_PAIRS, { vni, name: spec?.annotations?.name ?? id });
  return used;
};

/**
 * The VNI that the options ask for, else the next after the highest one; from the start again when the space is at its end.
 * 0 for networks that have none. Throws TswarmError `conflict` (names the owner) or `exhausted`.
 */
export const allocateVni = (tx: ReadTx, spec: NetworkSpec): number => {
  if (spec.driver !== "overlay" || spec.configOnly) return 0;
  const used = usedVnis(tx);
  const { vni: wanted } = overlayOptions(spec.options);
  if (wanted !== 0) {
    const other = used.get(wanted % TRANSIT_PAIRS);
    if (other === undefined) return wanted;
    const why = other.vni === wanted ? "" : `, which needs the same addresses on the nodes as ${wanted}`;
    const reason = `network ${other.name} has the VNI ${other.vni}${why}`;
    throw refuse("conflict", "options.vxlanid", reason, "Choose another one, or leave it out to get a free one");
  }
  const isFree = (vni: number): boolean => !used.has(vni % TRANSIT_PAIRS);
  const highest = Math.max(FIRST_VNI - 1, ...[...used.values()].map((u) => u.vni));
  for (let vni = highest + 1; vni <= LAST_VNI; vni++) if (isFree(vni)) return vni;
  for (let vni = FIRST_VNI; vni < FIRST_VNI + TRANSIT_PAIRS; vni++) if (isFree(vni)) return vni;
  throw new TswarmError("exhausted", "no VNI is left");
};
