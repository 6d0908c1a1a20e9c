// Addresses between text and the kernel's bytes: IPv4 (4), IPv6 (16), MAC (6). Text out is spelled as in net/model.
import { formatIpv4, formatIpv6, familyOf as numericFamily, parseAddress } from "#net/model/cidr.ts";

export type Family = "inet" | "inet6";
export const AF = { UNSPEC: 0, BRIDGE: 7, INET: 2, INET6: 10 } as const;
export const familyNumber = (family: Family): number => (family === "inet" ? AF.INET : AF.INET6);
export const familyOf = (address: string): Family => (numericFamily(address) === 4 ? "inet" : "inet6");

/** Bytes of an address without prefix length, in network order. Throws RangeError on anything else. */
export const addressBytes = (text: string): Uint8Array => {
  const value = parseAddress(text);
  if (numericFamily(text) === 4) {
    const n = Number(value);
    return Uint8Array.of(n >>> 24, n >>> 16, n >>> 8, n);
  }
  const bytes = new Uint8Array(16);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(0, value >> 64n);
  view.setBigUint64(8, value & 0xffff_ffff_ffff_ffffn);
  return bytes;
};

export const addressText = (bytes: Uint8Array): string => {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length === 4) return formatIpv4(BigInt(view.getUint32(0)));
  if (bytes.length !== 16) throw new RangeError(`an IP address of ${bytes.length} bytes`);
  return formatIpv6((view.getBigUint64(0) << 64n) | view.getBigUint64(8));
};

export type Prefix = { readonly address: string; readonly bits: number };

/** "10.0.0.0/8", or a bare address as its full-length prefix. Host bits are kept. */
export const parsePrefix = (text: string): Prefix => {
  const [address, bits, rest] = text.split("/");
  const full = addressBytes(address!).length * 8;
  const n = bits === undefined ? full : /^\d{1,3}$/.test(bits) ? Number(bits) : Number.NaN;
  if (rest !== undefined || !(n <= full)) throw new RangeError(`"${text}" is not an address with prefix length`);
  return { address: address!, bits: n };
};

export const macBytes = (text: string): Uint8Array => {
  const parts = text.split(":");
  if (parts.length !== 6 || !parts.every((p) => /^[0-9a-fA-F]{2}$/.test(p)))
    throw new RangeError(`"${text}" is not a MAC address`);
  return Uint8Array.from(parts, (p) => Number.parseInt(p, 16));
};

export const macText = (bytes: Uint8Array): string =>
  Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join(":");
