// Subnets and VNIs of networks: what the user asked for, or the next free piece of the cluster's pools.
import { refuse, TswarmError } from "#base/errors.ts";
import type { ReadTx } from "#control-plane/state/types.ts";
import { firstAddress } from "#net/ipam/addresses.ts";
import { freeSubnet } from "#net/ipam/pools.ts";
import { type Block, blockOf, canonicalPrefix, overlap } from "#net/ipam/prefix.ts";
import { canonicalAddress, type Family } from "#net/model/cidr.ts";
import type { IpamConfig, NetworkSpec, Subnet } from "#proto/gen/types.ts";

/** Like Swarm's: 10.0.0.0/8 in pieces of /24; a unique local prefix (RFC 4193) in pieces of /64. */
export const DEFAULT_POOLS = {
  v4: ["10.0.0.0/8"],
  v4Length: 24,
  v6: ["fd74:7377:6172::/48"],
  v6Length: 64,
} as const;

/** As Swarm: below are VNIs for other users of the same hosts. */
const FIRST_VNI = 4096;
const LAST_VNI = (1 << 24) - 1;

export const needsSubnet = (driver: string): boolean => driver === "overlay" || driver === "bridge";

type Taken = { readonly block: Block; readonly prefix: string; readonly owner: string };

/** Every prefix that a new subnet must not overlap, and whose it is. */
const takenPrefixes = (tx: ReadTx): Taken[] => {
  const taken: Taken[] = [];
  const ours = new Set<string>();
  for (const network of tx.all("network"))
    for (const { subnet } of network.subnets) {
      ours.add(subnet);
      taken.push({ block: blockOf(subnet), prefix: subnet, owner: `network ${network.spec?.annotations?.name}` });
    }
  for (const node of tx.all("node"))
    for (const route of node.description?.routes ?? []) {
      const block = blockOf(route);
      // A default route overlaps everything and says nothing; a route to our own subnet is our own.
      if (block.length === 0 || ours.has(canonicalPrefix(route))) continue;
      taken.push({ block, prefix: route, owner: `a route of node ${node.description?.hostname || node.id}` });
    }
  return taken;
};

const asked = (config: IpamConfig, taken: readonly Taken[], field: string): Subnet => {
  const block = blockOf(config.subnet);
  const other = taken.find((t) => overlap(t.block, block));
  if (other !== undefined)
    throw refuse(
      "conflict",
      field,
      `${config.subnet} overlaps ${other.prefix} of ${other.owner}`,
      "Choose another subnet, or leave it out to get a free one",
    );
  const reserved = Object.entries(config.reserved).map(([name, address]) => [name, canonicalAddress(address)]);
  return {
    subnet: canonicalPrefix(config.subnet),
    range: config.range === "" ? "" : canonicalPrefix(config.range),
    gateway: config.gateway === "" ? gatewayOf(config) : canonicalAddress(config.gateway),
    reserved: Object.fromEntries(reserved),
  };
};

const gatewayOf = (config: IpamConfig): string => firstAddress(config.subnet);

const fromPool = (tx: ReadTx, family: Family, taken: readonly Taken[]): Subnet => {
  const spec = tx.cluster()?.spec;
  const given = (family === 4 ? spec?.poolsV4 : spec?.poolsV6) ?? [];
  const pools = given.length > 0 ? given : family === 4 ? DEFAULT_POOLS.v4 : DEFAULT_POOLS.v6;
  const length =
    (family === 4 ? spec?.poolV4Prefix : spec?.poolV6Prefix) ||
    (family === 4 ? DEFAULT_POOLS.v4Length : DEFAULT_POOLS.v6Length);
  const subnet = freeSubnet(
    pools,
    length,
    taken.map((t) => t.block),
  );
  if (subnet === undefined)
    throw refuse(
      "exhausted",
      "ipam.subnet",
      `no free /${length} is left in the IPv${family} pools ${pools.join(", ")}`,
      "Remove unused networks, or name a subnet (--subnet)",
    );
  return { subnet, range: "", gateway: firstAddress(subnet), reserved: {} };
};

/** Subnets for a checked spec, IPv4 first. Throws TswarmError `conflict` (names the owner) or `exhausted`. */
export const allocateSubnets = (tx: ReadTx, spec: NetworkSpec): Subnet[] => {
  if (!needsSubnet(spec.driver)) return [];
  const taken = takenPrefixes(tx);
  const families: Family[] = [];
  if (spec.ipv4) families.push(4);
  if (spec.ipv6) families.push(6);
  return families.map((family) => {
    const at = spec.ipam.findIndex((c) => c.subnet !== "" && blockOf(c.subnet).family === family);
    return at < 0 ? fromPool(tx, family, taken) : asked(spec.ipam[at]!, taken, `ipam[${at}].subnet`);
  });
};

/** The next VNI after the highest one; from the start again when the space is at its end. */
export const allocateVni = (tx: ReadTx): number => {
  const used = new Set<number>();
  for (const network of tx.all("network")) used.add(network.vni);
  const next = Math.max(FIRST_VNI - 1, ...used) + 1;
  if (next <= LAST_VNI) return next;
  for (let vni = FIRST_VNI; vni <= LAST_VNI; vni++) if (!used.has(vni)) return vni;
  throw new TswarmError("exhausted", "no VNI is left");
};
