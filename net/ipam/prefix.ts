// Arithmetic on prefixes: numbers as bigint, text in canonical form (RFC 5952 for IPv6).
import {
  canonicalAddress,
  type Family,
  familyOf,
  formatIpv4,
  formatIpv6,
  parseAddress,
  splitPrefix,
} from "#net/model/cidr.ts";

export type Block = {
  readonly family: Family;
  /** First and last number of the block. */
  readonly first: bigint;
  readonly last: bigint;
  readonly length: number;
};

const bitsOf = (family: Family): number => (family === 4 ? 32 : 128);

export const formatAddress = (family: Family, value: bigint): string =>
  family === 4 ? formatIpv4(value) : formatIpv6(value);

/** The block that a prefix stands for; host bits are ignored. Throws RangeError when the text is no prefix. */
export const blockOf = (prefix: string): Block => {
  const { address, length } = splitPrefix(prefix);
  const family = familyOf(address);
  const hostBits = BigInt(bitsOf(family) - length);
  const first = (parseAddress(address) >> hostBits) << hostBits;
  return { family, first, last: first + (1n << hostBits) - 1n, length };
};

/** The same for text of which nobody knows whether it is a prefix. */
export const readBlock = (text: string): Block | undefined => {
  try {
    return blockOf(text);
  } catch {
    return undefined;
  }
};

export const formatBlock = (block: Block): string => `${formatAddress(block.family, block.first)}/${block.length}`;

/** Canonical "network/length"; host bits are cleared. */
export const canonicalPrefix = (prefix: string): string => formatBlock(blockOf(prefix));

export const hasHostBits = (prefix: string): boolean =>
  canonicalAddress(splitPrefix(prefix).address) !== splitPrefix(canonicalPrefix(prefix)).address;

export const overlap = (a: Block, b: Block): boolean => a.family === b.family && a.first <= b.last && b.first <= a.last;

export const within = (outer: Block, inner: Block): boolean =>
  outer.family === inner.family && outer.first <= inner.first && inner.last <= outer.last;

/** Addresses that hosts may have: without IPv4's network and broadcast address, without IPv6's subnet-router anycast (RFC 4291). */
export const usable = (block: Block): { readonly first: bigint; readonly last: bigint } => {
  const pointToPoint = bitsOf(block.family) - block.length <= 1;
  if (pointToPoint) return { first: block.first, last: block.last };
  return { first: block.first + 1n, last: block.family === 4 ? block.last - 1n : block.last };
};
