// Addresses and prefixes as text in canonical form (dotted quad, RFC 5952): one spelling, so that equality is `===`.

export type Family = 4 | 6;

export const familyOf = (address: string): Family => (address.includes(":") ? 6 : 4);

export type Prefix = { readonly address: string; readonly length: number };

/** "10.77.0.3/24" in its parts. Throws RangeError when it is not a prefix. */
export const splitPrefix = (text: string): Prefix => {
  const slash = text.indexOf("/");
  const address = text.slice(0, slash);
  const length = Number(text.slice(slash + 1));
  const bits = familyOf(address) === 4 ? 32 : 128;
  if (slash <= 0 || !Number.isInteger(length) || length < 0 || length > bits)
    throw new RangeError(`not a prefix: ${text}`);
  return { address, length };
};

/** The address as a number, big endian. Throws RangeError when it is not an address. */
export const parseAddress = (text: string): bigint => (familyOf(text) === 4 ? parseIpv4(text) : parseIpv6(text));

const parseIpv4 = (text: string): bigint => {
  const parts = text.split(".");
  if (parts.length !== 4) throw new RangeError(`not an IPv4 address: ${text}`);
  return parts.reduce((sum, part) => {
    if (!/^\d{1,3}$/.test(part) || Number(part) > 255) throw new RangeError(`not an IPv4 address: ${text}`);
    return (sum << 8n) | BigInt(part);
  }, 0n);
};

const parseIpv6 = (text: string): bigint => {
  const sides = text.split("::");
  if (sides.length > 2) throw new RangeError(`not an IPv6 address: ${text}`);
  const groups = (side: string | undefined): string[] => (side ? side.split(":") : []);
  const head = groups(sides[0]);
  const tail = groups(sides[1]);
  const gap = 8 - head.length - tail.length;
  if (sides.length === 1 ? gap !== 0 : gap < 1) throw new RangeError(`not an IPv6 address: ${text}`);
  return [...head, ...new Array<string>(gap).fill("0"), ...tail].reduce((sum, group) => {
    if (!/^[0-9a-fA-F]{1,4}$/.test(group)) throw new RangeError(`not an IPv6 address: ${text}`);
    return (sum << 16n) | BigInt(Number.parseInt(group, 16));
  }, 0n);
};

export const formatIpv4 = (value: bigint): string =>
  [24n, 16n, 8n, 0n].map((shift) => ((value >> shift) & 255n).toString()).join(".");

/** RFC 5952: lower case, no leading zeros, the longest run of two or more zero groups (the first of equals) as "::". */
export const formatIpv6 = (value: bigint): string => {
  const groups = Array.from({ length: 8 }, (_, i) => Number((value >> BigInt(112 - 16 * i)) & 0xffffn));
  let best = { start: -1, length: 1 };
  for (let i = 0; i < 8; i++) {
    let n = 0;
    while (i + n < 8 && groups[i + n] === 0) n++;
    if (n > best.length) best = { start: i, length: n };
  }
  const hex = groups.map((g) => g.toString(16));
  if (best.start < 0) return hex.join(":");
  return `${hex.slice(0, best.start).join(":")}::${hex.slice(best.start + best.length).join(":")}`;
};

/** Canonical spelling of an address. */
export const canonicalAddress = (text: string): string =>
  familyOf(text) === 4 ? formatIpv4(parseIpv4(text)) : formatIpv6(parseIpv6(text));

export const isLinkLocal6 = (address: string): boolean => /^fe[89ab]/i.test(address);

/** Is the address inside the prefix? Different families: no. */
export const contains = (prefix: string, address: string): boolean => {
  const p = splitPrefix(prefix);
  if (familyOf(p.address) !== familyOf(address)) return false;
  const hostBits = BigInt((familyOf(address) === 4 ? 32 : 128) - p.length);
  return parseAddress(p.address) >> hostBits === parseAddress(address) >> hostBits;
};
