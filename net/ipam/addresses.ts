// Addresses of a subnet, given out in a row: the search goes on after the last one, so that a freed address is not used at once.
import { familyOf, parseAddress, splitPrefix } from "#net/model/cidr.ts";
import { blockOf, formatAddress, usable } from "./prefix.ts";

/** A place to take addresses from: `range` is the part of the subnet for tasks; empty: all of it. */
export type AddressSpace = { readonly subnet: string; readonly range: string };

const boundsOf = ({ subnet, range }: AddressSpace): { first: bigint; last: bigint } => {
  const all = usable(blockOf(subnet));
  if (range === "") return all;
  const part = blockOf(range);
  const bounds = { first: part.first, last: part.last };
  if (bounds.first < all.first) bounds.first = all.first;
  if (bounds.last > all.last) bounds.last = all.last;
  return bounds;
};

/** How many addresses there are, those of gateways and reserved ones included; at most 2^53 - 1. */
export const capacity = (space: AddressSpace): number => {
  const { first, last } = boundsOf(space);
  const size = last - first + 1n;
  return size > BigInt(Number.MAX_SAFE_INTEGER) ? Number.MAX_SAFE_INTEGER : Number(size);
};

/** Tells which addresses are given out here: those of hosts only, so not the network's own. */
export const insideOf = (space: AddressSpace): ((address: string) => boolean) => {
  const { family } = blockOf(space.subnet);
  const { first, last } = boundsOf(space);
  return (address) => {
    if (familyOf(address) !== family) return false;
    const value = parseAddress(address);
    return first <= value && value <= last;
  };
};

/** The next address (without length) after `last` that nobody holds, going round; undefined: all are held. */
export const nextFree = (
  space: AddressSpace,
  held: { has(address: string): boolean; readonly size: number },
  last = "",
): string | undefined => {
  const { family } = blockOf(space.subnet);
  const bounds = boundsOf(space);
  const given = last === "" ? bounds.first - 1n : parseAddress(last);
  let value = given >= bounds.first - 1n && given < bounds.last ? given + 1n : bounds.first;
  const count = bounds.last - bounds.first + 1n;
  let tries = count;
  for (let i = 0n; i < tries; i++) {
    // One of size + 1 candidates is free: a /64 is never walked through. Most are found before it is worth counting.
    if (i === 32n && BigInt(held.size) < count) tries = BigInt(held.size) + 1n;
    const address = formatAddress(family, value);
    if (!held.has(address)) return address;
    value = value === bounds.last ? bounds.first : value + 1n;
  }
  return undefined;
};

/** The first usable address that is not reserved: the gateway's, unless the user chose another. */
export const firstAddress = (subnet: string, reserved: readonly string[] = []): string =>
  nextFree({ subnet, range: "" }, new Set(reserved)) ??
  formatAddress(blockOf(subnet).family, usable(blockOf(subnet)).first);

/** "10.77.0.3" of 10.77.0.0/24 as "10.77.0.3/24". */
export const withLength = (address: string, subnet: string): string => `${address}/${splitPrefix(subnet).length}`;
