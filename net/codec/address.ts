// Addresses between text and bytes: IPv4 (4 bytes), IPv6 (16), MAC (6). Text out is canonical (RFC 5952, lower case).

export type Family = "inet" | "inet6";
export const AF = { UNSPEC: 0, BRIDGE: 7, INET: 2, INET6: 10 } as const;
export const familyNumber = (family: Family): number => (family === "inet" ? AF.INET : AF.INET6);
export const familyOf = (address: string): Family => (address.includes(":") ? "inet6" : "inet");

const parseIpv4 = (text: string): Uint8Array | undefined => {
  const parts = text.split(".");
  if (parts.length !== 4 || !parts.every((p) => /^\d{1,3}$/.test(p) && Number(p) <= 255)) return undefined;
  return Uint8Array.from(parts, Number);
};

const parseGroups = (text: string): number[] | undefined => {
  if (text === "") return [];
  const groups: number[] = [];
  const parts = text.split(":");
  for (const [i, part] of parts.entries()) {
    if (part.includes(".") && i === parts.length - 1) {
      const v4 = parseIpv4(part);
      if (v4 === undefined) return undefined;
      groups.push((v4[0]! << 8) | v4[1]!, (v4[2]! << 8) | v4[3]!);
    } else if (/^[0-9a-fA-F]{1,4}$/.test(part)) groups.push(Number.parseInt(part, 16));
    else return undefined;
  }
  return groups;
};

const parseIpv6 = (text: string): Uint8Array | undefined => {
  const halves = text.split("::");
  if (halves.length > 2) return undefined;
  const head = parseGroups(halves[0]!);
  const tail = halves.length === 2 ? parseGroups(halves[1]!) : [];
  if (head === undefined || tail === undefined) return undefined;
  const missing = 8 - head.length - tail.length;
  if (halves.length === 2 ? missing < 1 : missing !== 0) return undefined;
  const groups = [...head, ...new Array<number>(missing).fill(0), ...tail];
  return Uint8Array.from(groups.flatMap((g) => [g >> 8, g & 0xff]));
};

/** Bytes of an address without prefix length. Throws RangeError on anything else. */
export const addressBytes = (text: string): Uint8Array => {
  const bytes = text.includes(":") ? parseIpv6(text) : parseIpv4(text);
  if (bytes === undefined) throw new RangeError(`"${text}" is not an IP address`);
  return bytes;
};

export const addressText = (bytes: Uint8Array): string => {
  if (bytes.length === 4) return bytes.join(".");
  if (bytes.length !== 16) throw new RangeError(`an IP address of ${bytes.length} bytes`);
  const groups = Array.from({ length: 8 }, (_, i) => (bytes[2 * i]! << 8) | bytes[2 * i + 1]!);
  if (groups.slice(0, 5).every((g) => g === 0) && groups[5] === 0xffff) return `::ffff:${bytes.subarray(12).join(".")}`;
  let best = { start: 0, length: 1 };
  for (let i = 0; i < 8; i++) {
    let length = 0;
    while (i + length < 8 && groups[i + length] === 0) length++;
    if (length > best.length) best = { start: i, length };
  }
  const hex = groups.map((g) => g.toString(16));
  if (best.length < 2) return hex.join(":");
  return `${hex.slice(0, best.start).join(":")}::${hex.slice(best.start + best.length).join(":")}`;
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
