// Questions and our own answers as DNS messages, by dns-packet. What is forwarded does not pass through here.
import { AUTHORITATIVE_ANSWER, type DecodedPacket, decode, encode, type Packet, RECURSION_AVAILABLE } from "dns-packet";
import type { ZoneRecord } from "./zone.ts";

export const RCODE = { NOERROR: 0, FORMERR: 1, SERVFAIL: 2, NXDOMAIN: 3, NOTIMP: 4, REFUSED: 5 } as const;

// Fits every path without fragments (DNS flag day 2020).
const EDNS_BYTES = 1232;
const CLASSIC_UDP_BYTES = 512;
const RECURSION_DESIRED = 1 << 8;

export type Query = {
  readonly id: number;
  readonly name: string;
  readonly type: string;
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
  const [question, another] = packet.questions ?? [];
  if (question === undefined || another !== undefined)
    return { kind: "refuse", response: headerOnly(bytes, RCODE.FORMERR) };
  if (question.class !== "IN") return { kind: "refuse", response: headerOnly(bytes, RCODE.REFUSED) };
  const opt = packet.additionals?.find((a) => a.type === "OPT");
  return {
    kind: "query",
    query: {
      id: packet.id ?? 0,
      name: question.name === "." ? "" : question.name,
      type: question.type,
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

/** Our own answer, authoritative unless it reports that forwarding failed. */
export const response = (query: Query, rcode: number, records: readonly ZoneRecord[], ownName = true): Buffer => {
  const packet: Packet = {
    type: "response",
    id: query.id,
    flags:
      (ownName ? AUTHORITATIVE_ANSWER : 0) |
      RECURSION_AVAILABLE |
      (query.recursionDesired ? RECURSION_DESIRED : 0) |
      rcode,
    questions: [questionFor(query)],
    answers: records.map((r) => ({ ...r, class: "IN" })),
  };
  return encode(query.edns ? { ...packet, additionals: [opt(query)] } : packet);
};

/** The question as we ask it upstream: the asker's bytes of it, none of its EDNS options. */
export const upstreamQuery = (query: Query, question: Uint8Array, id: number): Buffer => {
  const header = Buffer.alloc(12);
  header.writeUInt16BE(id, 0);
  header.writeUInt16BE(RECURSION_DESIRED, 2);
  header.writeUInt16BE(1, 4);
  if (!query.edns) return Buffer.concat([header, question]);
  header.writeUInt16BE(1, 10);
  // OPT (RFC 6891 §6.1.2): root name, type, size in the place of the class, flags in the place of the TTL, no options.
  const record = Buffer.from([0, 0, 41, EDNS_BYTES >> 8, EDNS_BYTES & 0xff, 0, 0, query.dnssecOk ? 0x80 : 0, 0, 0, 0]);
  return Buffer.concat([header, question, record]);
};

// The types of dns-packet know only the record types it can decode; it encodes any by name or as "UNKNOWN_n".
const questionFor = (query: Query) => ({ name: query.name, type: query.type as "A", class: "IN" as const });

const opt = (query: Query) => ({
  type: "OPT" as const,
  name: "." as const,
  udpPayloadSize: EDNS_BYTES,
  extendedRcode: 0,
  ednsVersion: 0,
  flags: query.dnssecOk ? 0x8000 : 0,
  flag_do: query.dnssecOk,
  options: [],
});
