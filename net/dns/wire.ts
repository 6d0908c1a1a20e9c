// The few things that are done to DNS messages as bytes, so that forwarded answers pass through unchanged otherwise.
// RFC 1035 §4.1; RFC 6891 for OPT. Every function takes untrusted bytes and returns undefined, or throws RangeError, on damage.

export const HEADER_BYTES = 12;
/** RFC 1035 §2.3.4, the root's zero included. */
const NAME_BYTES = 255;
export const OPT = 41;
export const SOA = 6;

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
    if (length > 63) throw new RangeError("DNS label is too long");
    at += 1 + length;
  }
};

/** The bytes of the one question: name, type, class. undefined unless there is exactly one valid one, without compression. */
export const questionOf = (m: Uint8Array): Uint8Array | undefined => {
  if (m.length < HEADER_BYTES || u16(m, 4) !== 1) return undefined;
  let at = HEADER_BYTES;
  for (let length = m[at]; length !== 0; length = m[at]) {
    if (length === undefined || length > 63) return undefined;
    at += 1 + length;
    if (at - HEADER_BYTES >= NAME_BYTES) return undefined;
  }
  return at + 5 <= m.length ? m.subarray(HEADER_BYTES, at + 5) : undefined;
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

type Walked = {
  readonly start: number;
  /** Where its type is. */
  readonly fixed: number;
  readonly end: number;
  readonly type: number;
};

/** Every record of all sections. Throws RangeError on a damaged message. */
function* recordsOf(m: Uint8Array): Generator<Walked> {
  let at = HEADER_BYTES;
  for (let i = u16(m, 4); i > 0; i--) at = skipName(m, at) + 4;
  for (let i = u16(m, 6) + u16(m, 8) + u16(m, 10); i > 0; i--) {
    const start = at;
    const fixed = skipName(m, at);
    at = fixed + 10 + u16(m, fixed + 8);
    if (at > m.length) throw new RangeError("DNS record is cut");
    yield { start, fixed, end: at, type: u16(m, fixed) };
  }
}

/** Throws RangeError on a damaged message. */
export const lifetimesOf = (m: Uint8Array): Lifetimes => {
  const ttls: Ttl[] = [];
  let negative: number | undefined;
  for (const { fixed, end, type } of recordsOf(m)) {
    // A TTL with the top bit set counts as zero (RFC 2181 §8).
    const written = u32(m, fixed + 4);
    const seconds = written >= 2 ** 31 ? 0 : written;
    if (type !== OPT) ttls.push({ offset: fixed + 4, seconds });
    if (type === SOA) negative = Math.min(seconds, u32(m, end - 4));
  }
  // An alias that leads to nothing has answers and an SOA.
  const smallest = Math.min(...ttls.map((t) => t.seconds), negative ?? Number.POSITIVE_INFINITY);
  return { ttls, seconds: u16(m, 6) > 0 ? smallest : negative };
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
  copy.set(question, HEADER_BYTES);
  for (const t of ttls) copy.writeUInt32BE(Math.max(0, t.seconds - ageSeconds), t.offset);
  return copy;
};

export type Opt = { readonly udpBytes: number; readonly version: number; readonly dnssecOk: boolean };

/** The EDNS record, if there is one. Throws RangeError on a damaged message, and when there are several (RFC 6891 §6.1.1). */
export const optOf = (m: Uint8Array): Opt | undefined => {
  let found: Opt | undefined;
  for (const { type, fixed } of recordsOf(m)) {
    if (type !== OPT) continue;
    if (found) throw new RangeError("several OPT records");
    found = { udpBytes: u16(m, fixed + 2), version: m[fixed + 5]!, dnssecOk: (m[fixed + 6]! & 0x80) !== 0 };
  }
  return found;
};

/**
 * At most `limit` bytes: as many whole answers as fit, with TC when one had to go, so that the asker comes back by TCP.
 * Those that can't (musl before 1.2.4) have something to go on with. The other sections go first (RFC 2181 §9); OPT stays.
 */
export const fitted = (m: Buffer, limit: number): Buffer => {
  if (m.length <= limit) return m;
  const question = questionOf(m);
  let end = HEADER_BYTES + (question?.length ?? 0);
  let opt: Uint8Array = new Uint8Array(0);
  let kept = 0;
  const answers = u16(m, 6);
  try {
    const records = question ? [...recordsOf(m)] : [];
    const found = records.find((r) => r.type === OPT);
    if (found) opt = m.subarray(found.start, found.end);
    for (const record of records.slice(0, answers)) {
      if (record.end + opt.length > limit) break;
      end = record.end;
      kept++;
    }
  } catch {
    // A damaged message from upstream: its question goes back, to be asked by TCP.
  }
  const short = Buffer.concat([m.subarray(0, end), opt]);
  if (kept < answers) short[2] = short[2]! | 0x02;
  short.writeUInt16BE(question === undefined ? 0 : 1, 4);
  short.writeUInt16BE(kept, 6);
  short.writeUInt16BE(0, 8);
  short.writeUInt16BE(opt.length > 0 ? 1 : 0, 10);
  return short;
};
