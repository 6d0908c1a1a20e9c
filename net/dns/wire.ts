// The few things that are done to DNS messages as bytes, so that forwarded answers pass through unchanged otherwise.
// RFC 1035 §4.1; RFC 6891 for OPT. Every function takes untrusted bytes and returns undefined, or throws RangeError, on damage.

const HEADER = 12;
const OPT = 41;
const SOA = 6;

const u16 = (m: Uint8Array, at: number): number => {
  if (at + 2 > m.length) throw new RangeError("DNS message is cut");
  return (m[at]! << 8) | m[at + 1]!;
};
const u32 = (m: Uint8Array, at: number): number => u16(m, at) * 65536 + u16(m, at + 2);

export const messageId = (m: Uint8Array): number => u16(m, 0);
export const isTruncated = (m: Uint8Array): boolean => (m[2]! & 0x02) !== 0;
export const responseCode = (m: Uint8Array): number => m[3]! & 0x0f;

/** Position after a name; compression pointers end it. */
const skipName = (m: Uint8Array, start: number): number => {
  for (let at = start; ; ) {
    const length = m[at];
    if (length === undefined) throw new RangeError("DNS name is cut");
    if (length === 0) return at + 1;
    if (length >= 0xc0) return at + 2;
    at += 1 + length;
  }
};

/** The bytes of the one question: name, type, class. undefined unless there is exactly one, written without compression. */
export const questionOf = (m: Uint8Array): Uint8Array | undefined => {
  if (m.length < HEADER || u16(m, 4) !== 1) return undefined;
  let at = HEADER;
  for (let length = m[at]; length !== 0; length = m[at]) {
    if (length === undefined || length > 63) return undefined;
    at += 1 + length;
  }
  return at + 5 <= m.length ? m.subarray(HEADER, at + 5) : undefined;
};

/** Equal but for the case of letters in the name. */
export const sameQuestion = (a: Uint8Array, b: Uint8Array): boolean =>
  a.length === b.length && a.every((byte, i) => lower(byte) === lower(b[i]!));
const lower = (byte: number): number => (byte >= 65 && byte <= 90 ? byte + 32 : byte);

type Ttl = { readonly offset: number; readonly seconds: number };
export type Lifetimes = {
  /** Where the TTLs of all records are, OPT excepted. */
  readonly ttls: readonly Ttl[];
  /** Smallest of them; for a negative answer the SOA's (RFC 2308 §5). undefined: must not be cached. */
  readonly seconds: number | undefined;
};

/** Walks every record. Throws RangeError on a damaged message. */
export const lifetimesOf = (m: Uint8Array): Lifetimes => {
  let at = HEADER;
  for (let i = u16(m, 4); i > 0; i--) at = skipName(m, at) + 4;
  const answers = u16(m, 6);
  const total = answers + u16(m, 8) + u16(m, 10);
  const ttls: Ttl[] = [];
  let negative: number | undefined;
  for (let i = 0; i < total; i++) {
    at = skipName(m, at);
    const type = u16(m, at);
    const seconds = u32(m, at + 4);
    const end = at + 10 + u16(m, at + 8);
    if (end > m.length) throw new RangeError("DNS record is cut");
    // A TTL with the top bit set counts as zero (RFC 2181 §8).
    if (type !== OPT) ttls.push({ offset: at + 4, seconds: seconds >= 2 ** 31 ? 0 : seconds });
    if (type === SOA) negative = Math.min(seconds, u32(m, end - 4));
    at = end;
  }
  const smallest = Math.min(...ttls.map((t) => t.seconds));
  return { ttls, seconds: answers > 0 ? smallest : negative };
};

/** A copy with another id, with the asker's spelling of the question, and with TTLs `ageSeconds` smaller. */
export const readdressed = (
  m: Uint8Array,
  id: number,
  question: Uint8Array,
  ttls: readonly Ttl[],
  ageSeconds: number,
): Buffer => {
  const copy = Buffer.from(m);
  copy.writeUInt16BE(id, 0);
  copy.set(question, HEADER);
  for (const t of ttls) copy.writeUInt32BE(Math.max(0, t.seconds - ageSeconds), t.offset);
  return copy;
};

/** Header and question only, with TC: the asker comes back by TCP. */
export const truncated = (m: Uint8Array): Buffer => {
  const question = questionOf(m);
  const short = Buffer.from(m.subarray(0, HEADER + (question?.length ?? 0)));
  short[2] = short[2]! | 0x02;
  short.writeUInt16BE(question === undefined ? 0 : 1, 4);
  short.fill(0, 6, HEADER);
  return short;
};
