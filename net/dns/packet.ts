// Questions of containers, read from untrusted bytes, and our own answers. The asker's question goes back as the bytes it
// came in, so that no name, however strange, has to be encoded again. RFC 1035 §4.1; RFC 6891 for EDNS.
import { familyOf, parseAddress } from "#net/model/cidr.ts";
import { HEADER_BYTES, OPT, optOf, questionOf, SOA } from "./wire.ts";
import { TTL_SECONDS, type ZoneRecord } from "./zone.ts";

export const RCODE = { NOERROR: 0, FORMERR: 1, SERVFAIL: 2, NXDOMAIN: 3, NOTIMP: 4, REFUSED: 5, BADVERS: 16 } as const;

// Fits every path without fragments (DNS flag day 2020).
const EDNS_BYTES = 1232;
const CLASSIC_UDP_BYTES = 512;
/** How long a resolver in a container may remember that a name has nothing. */
const NEGATIVE_SECONDS = 1;
const FLAGS = {
  RESPONSE: 1 << 15,
  AUTHORITATIVE: 1 << 10,
  RECURSION_DESIRED: 1 << 8,
  RECURSION_AVAILABLE: 1 << 7,
  AUTHENTIC_DATA: 1 << 5,
  CHECKING_DISABLED: 1 << 4,
} as const;
const TYPES = { A: 1, PTR: 12, AAAA: 28, SRV: 33 } as const;
const TYPE_NAMES = new Map<number, string>([...Object.entries(TYPES).map(([k, v]) => [v, k] as const), [255, "ANY"]]);
const CLASS_IN = 1;
// The question's name starts right after the header.
const POINTER_TO_QUESTION = 0xc000 | HEADER_BYTES;

export type Query = {
  readonly id: number;
  /** Without the final dot, in lower case; bytes that are in no name of ours appear as "\ddd". */
  readonly name: string;
  /** One of those that are answered here, or "TYPEn". */
  readonly type: string;
  /** Name, type and class as they were asked. */
  readonly question: Uint8Array;
  /** RD, AD and CD as they were asked. */
  readonly flags: number;
  /** How long a UDP answer may be. */
  readonly udpBytes: number;
  readonly edns: boolean;
  readonly dnssecOk: boolean;
};
export type ParsedQuery =
  | { readonly kind: "query"; readonly query: Query }
  /** Answer with this code: the header could be read. */
  | { readonly kind: "refuse"; readonly response: Buffer }
  /** No answer: not a query at all, or too short to have an id. */
  | { readonly kind: "ignore" };

export const parseQuery = (bytes: Buffer): ParsedQuery => {
  if (bytes.length < HEADER_BYTES || (bytes[2]! & 0x80) !== 0) return { kind: "ignore" };
  const refuse = (rcode: number): ParsedQuery => ({ kind: "refuse", response: headerOnly(bytes, rcode) });
  if ((bytes[2]! & 0x78) !== 0) return refuse(RCODE.NOTIMP);
  const question = questionOf(bytes);
  if (question === undefined) return refuse(RCODE.FORMERR);
  let opt: ReturnType<typeof optOf>;
  try {
    opt = optOf(bytes);
  } catch {
    return refuse(RCODE.FORMERR);
  }
  const fixed = question.length - 4;
  const type = (question[fixed]! << 8) | question[fixed + 1]!;
  if (((question[fixed + 2]! << 8) | question[fixed + 3]!) !== CLASS_IN) return refuse(RCODE.REFUSED);
  const query: Query = {
    id: bytes.readUInt16BE(0),
    name: nameText(question),
    type: TYPE_NAMES.get(type) ?? `TYPE${type}`,
    question,
    flags: bytes.readUInt16BE(2) & (FLAGS.RECURSION_DESIRED | FLAGS.AUTHENTIC_DATA | FLAGS.CHECKING_DISABLED),
    udpBytes: Math.max(CLASSIC_UDP_BYTES, Math.min(EDNS_BYTES, opt?.udpBytes ?? CLASSIC_UDP_BYTES)),
    edns: opt !== undefined,
    dnssecOk: opt?.dnssecOk ?? false,
  };
  if (opt && opt.version !== 0) return { kind: "refuse", response: response(query, RCODE.BADVERS) };
  return { kind: "query", query };
};

/** A byte that could be taken for something else in a name, a dot above all, is written as its number. */
const nameText = (question: Uint8Array): string => {
  let text = "";
  for (let at = 0; question[at] !== 0; ) {
    const end = at + 1 + question[at]!;
    if (at > 0) text += ".";
    for (at++; at < end; at++) {
      const byte = question[at]!;
      if (byte >= 65 && byte <= 90) text += String.fromCharCode(byte + 32);
      else if (byte > 32 && byte < 127 && byte !== 46 && byte !== 92) text += String.fromCharCode(byte);
      else text += `\\${String(byte).padStart(3, "0")}`;
    }
  }
  return text;
};

const headerOnly = (query: Buffer, rcode: number): Buffer => {
  const header = Buffer.alloc(HEADER_BYTES);
  query.copy(header, 0, 0, 3);
  header[2] = (header[2]! & 0x79) | 0x80;
  header[3] = rcode | 0x80;
  return header;
};

export type Answer = {
  readonly answers?: readonly ZoneRecord[];
  readonly additionals?: readonly ZoneRecord[];
  /** Of a name that is ours: authoritative, and if it has no records with the time for which that may be remembered. */
  readonly own?: boolean;
};

/** Our own answer. May be longer than 64 KiB. */
export const response = (query: Query, rcode: number, answer: Answer = {}): Buffer => {
  const { answers = [], additionals = [], own = false } = answer;
  const negative = own && answers.length === 0;
  const header = Buffer.allocUnsafe(HEADER_BYTES);
  header.writeUInt16BE(query.id, 0);
  const authority = own ? FLAGS.AUTHORITATIVE : 0;
  // AD says that data was verified with DNSSEC: never ours.
  const flags = query.flags & ~FLAGS.AUTHENTIC_DATA;
  header.writeUInt16BE(FLAGS.RESPONSE | authority | FLAGS.RECURSION_AVAILABLE | flags | (rcode & 15), 2);
  header.writeUInt16BE(1, 4);
  header.writeUInt16BE(answers.length, 6);
  header.writeUInt16BE(negative ? 1 : 0, 8);
  header.writeUInt16BE(additionals.length + (query.edns ? 1 : 0), 10);
  const parts: Uint8Array[] = [header, query.question];
  for (const record of answers) parts.push(recordBytes(record));
  if (negative) parts.push(soaRecord(query.question));
  for (const record of additionals) parts.push(recordBytes(record));
  if (query.edns) parts.push(optRecord(query.dnssecOk, rcode >> 4));
  return Buffer.concat(parts);
};

const recordBytes = (record: ZoneRecord): Buffer => {
  const owner = record.name === undefined ? pointer(POINTER_TO_QUESTION) : nameBytes(record.name);
  return resourceRecord(owner, TYPES[record.type], TTL_SECONDS, dataBytes(record));
};

const dataBytes = (record: ZoneRecord): Uint8Array => {
  if (record.type === "PTR") return nameBytes(record.data);
  if (record.type !== "SRV") return addressData(record.data);
  // RFC 2782: priority, weight, port, and a target that must not be compressed.
  return Buffer.concat([Buffer.of(0, 0, 0, 0, record.port >> 8, record.port & 0xff), nameBytes(record.data)]);
};

const addressData = (address: string): Uint8Array => {
  const value = parseAddress(address);
  if (familyOf(address) === 6) return Buffer.from(value.toString(16).padStart(32, "0"), "hex");
  const bytes = Buffer.allocUnsafe(4);
  bytes.writeUInt32BE(Number(value));
  return bytes;
};

const resourceRecord = (owner: Uint8Array, type: number, ttl: number, data: Uint8Array): Buffer => {
  const bytes = Buffer.allocUnsafe(owner.length + 10 + data.length);
  bytes.set(owner);
  let at = owner.length;
  at = bytes.writeUInt16BE(type, at);
  at = bytes.writeUInt16BE(CLASS_IN, at);
  at = bytes.writeUInt32BE(ttl, at);
  at = bytes.writeUInt16BE(data.length, at);
  bytes.set(data, at);
  return bytes;
};

/**
 * RFC 2308 §3: without it nobody may remember that there is nothing. The zone is called like the last label of the name,
 * which is above every name that was asked.
 */
const soaRecord = (question: Uint8Array): Buffer => {
  let last = 0;
  for (let at = 0; question[at] !== 0; at += 1 + question[at]!) last = at;
  const numbers = [1, 3600, 600, 86_400, NEGATIVE_SECONDS];
  const data = Buffer.alloc(2 + 4 * numbers.length);
  for (const [i, n] of numbers.entries()) data.writeUInt32BE(n, 2 + 4 * i);
  return resourceRecord(pointer(POINTER_TO_QUESTION + last), SOA, NEGATIVE_SECONDS, data);
};

const pointer = (value: number): Buffer => Buffer.of(value >> 8, value & 0xff);

/** Labels of at most 63 bytes: the zone gives no other names (see zone.ts). */
const nameBytes = (name: string): Buffer => {
  const labels = name.split(".").map((label) => Buffer.from(label));
  return Buffer.concat([...labels.flatMap((label) => [Buffer.of(label.length), label]), Buffer.of(0)]);
};

/** The question as we ask it upstream, with none of the asker's EDNS options: they are meant for the next hop only. */
export const upstreamQuery = (query: Query, id: number): Buffer => {
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt16BE(id, 0);
  header.writeUInt16BE(query.flags | FLAGS.RECURSION_DESIRED, 2);
  header.writeUInt16BE(1, 4);
  header.writeUInt16BE(query.edns ? 1 : 0, 10);
  return Buffer.concat([header, query.question, ...(query.edns ? [optRecord(query.dnssecOk, 0)] : [])]);
};

/** RFC 6891 §6.1.2: root name, type, size in the place of the class, flags in the place of the TTL, no options. */
const optRecord = (dnssecOk: boolean, extendedRcode: number): Buffer =>
  Buffer.of(0, 0, OPT, EDNS_BYTES >> 8, EDNS_BYTES & 0xff, extendedRcode, 0, dnssecOk ? 0x80 : 0, 0, 0, 0);
