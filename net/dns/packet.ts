// Questions read by dns-packet, and our own answers. The asker's question goes back as the bytes it came in, so that no
// name, however strange, has to be encoded again. What is forwarded does not pass through here.
import { type DecodedPacket, decode } from "dns-packet";
import { familyOf, parseAddress } from "#net/model/cidr.ts";
import { questionOf } from "./wire.ts";
import type { ZoneRecord } from "./zone.ts";

export const RCODE = { NOERROR: 0, FORMERR: 1, SERVFAIL: 2, NXDOMAIN: 3, NOTIMP: 4, REFUSED: 5 } as const;

// Fits every path without fragments (DNS flag day 2020).
const EDNS_BYTES = 1232;
const CLASSIC_UDP_BYTES = 512;
const FLAGS = {
  RESPONSE: 1 << 15,
  AUTHORITATIVE: 1 << 10,
  RECURSION_DESIRED: 1 << 8,
  RECURSION_AVAILABLE: 1 << 7,
} as const;
const TYPES = { A: 1, PTR: 12, AAAA: 28 } as const;
// The name of every record is the question's, which starts right after the header.
const POINTER_TO_QUESTION = 0xc00c;

export type Query = {
  readonly id: number;
  /** Without the final dot, spelled as it was asked. */
  readonly name: string;
  readonly type: string;
  /** Name, type and class as they were asked. */
  readonly question: Uint8Array;
  readonly recursionDesired: boolean;
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
  if (bytes.length < 12 || (bytes[2]! & 0x80) !== 0) return { kind: "ignore" };
  if ((bytes[2]! & 0x78) !== 0) return { kind: "refuse", response: headerOnly(bytes, RCODE.NOTIMP) };
  let packet: DecodedPacket;
  try {
    packet = decode(bytes);
  } catch {
    return { kind: "refuse", response: headerOnly(bytes, RCODE.FORMERR) };
  }
  const [question] = packet.questions ?? [];
  const asked = questionOf(bytes);
  if (question === undefined || asked === undefined)
    return { kind: "refuse", response: headerOnly(bytes, RCODE.FORMERR) };
  if (question.class !== "IN") return { kind: "refuse", response: headerOnly(bytes, RCODE.REFUSED) };
  const opt = packet.additionals?.find((a) => a.type === "OPT");
  return {
    kind: "query",
    query: {
      id: packet.id ?? 0,
      name: question.name === "." ? "" : question.name,
      type: question.type,
      question: asked,
      recursionDesired: packet.flag_rd,
      udpBytes: Math.max(CLASSIC_UDP_BYTES, Math.min(EDNS_BYTES, opt?.udpPayloadSize ?? CLASSIC_UDP_BYTES)),
      edns: opt !== undefined,
      dnssecOk: opt?.flag_do ?? false,
    },
  };
};

const headerOnly = (query: Buffer, rcode: number): Buffer => {
  const header = Buffer.alloc(12);
  query.copy(header, 0, 0, 3);
  header[2] = (header[2]! & 0x79) | 0x80;
  header[3] = rcode | 0x80;
  return header;
};

/** Our own answer, authoritative unless it reports that forwarding failed. May be longer than 64 KiB. */
export const response = (query: Query, rcode: number, records: readonly ZoneRecord[], ownName = true): Buffer => {
  const header = Buffer.alloc(12);
  const authority = ownName ? FLAGS.AUTHORITATIVE : 0;
  const recursion = FLAGS.RECURSION_AVAILABLE | (query.recursionDesired ? FLAGS.RECURSION_DESIRED : 0);
  header.writeUInt16BE(query.id, 0);
  header.writeUInt16BE(FLAGS.RESPONSE | authority | recursion | rcode, 2);
  header.writeUInt16BE(1, 4);
  header.writeUInt16BE(records.length, 6);
  header.writeUInt16BE(query.edns ? 1 : 0, 10);
  return Buffer.concat([
    header,
    query.question,
    ...records.map(recordBytes),
    ...(query.edns ? [optRecord(query)] : []),
  ]);
};

const recordBytes = (record: ZoneRecord): Buffer => {
  const data = record.type === "PTR" ? nameBytes(record.data) : addressData(record.data);
  const fixed = Buffer.alloc(12);
  fixed.writeUInt16BE(POINTER_TO_QUESTION, 0);
  fixed.writeUInt16BE(TYPES[record.type], 2);
  fixed.writeUInt16BE(1, 4);
  fixed.writeUInt32BE(record.ttl, 6);
  fixed.writeUInt16BE(data.length, 10);
  return Buffer.concat([fixed, data]);
};

const addressData = (address: string): Buffer =>
  Buffer.from(
    parseAddress(address)
      .toString(16)
      .padStart(familyOf(address) === 4 ? 8 : 32, "0"),
    "hex",
  );

/** Labels of at most 63 bytes: the zone keeps no other names (see zone.ts). */
const nameBytes = (name: string): Buffer => {
  const labels = name.split(".").map((label) => Buffer.from(label));
  return Buffer.concat([...labels.flatMap((label) => [Buffer.of(label.length), label]), Buffer.of(0)]);
};

/** The question as we ask it upstream, with none of the asker's EDNS options. */
export const upstreamQuery = (query: Query, id: number): Buffer => {
  const header = Buffer.alloc(12);
  header.writeUInt16BE(id, 0);
  header.writeUInt16BE(FLAGS.RECURSION_DESIRED, 2);
  header.writeUInt16BE(1, 4);
  header.writeUInt16BE(query.edns ? 1 : 0, 10);
  return Buffer.concat([header, query.question, ...(query.edns ? [optRecord(query)] : [])]);
};

/** RFC 6891 §6.1.2: root name, type, size in the place of the class, flags in the place of the TTL, no options. */
const optRecord = (query: Query): Buffer =>
  Buffer.of(0, 0, 41, EDNS_BYTES >> 8, EDNS_BYTES & 0xff, 0, 0, query.dnssecOk ? 0x80 : 0, 0, 0, 0);
