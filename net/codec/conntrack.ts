// Flows of conntrack: as ctnetlink dumps them and as /proc/net/nf_conntrack lists them, and the message that deletes one by the
// tuple of its answers. References: linux/netfilter/nfnetlink_conntrack.h, nfnetlink.h; ct_seq_show in
// net/netfilter/nf_conntrack_standalone.c. Integers of nfnetlink attributes are big-endian.
import { canonicalAddress } from "#net/model/cidr.ts";
import { AF, addressBytes, addressText, familyOf } from "./address.ts";
import {
  type Attributes,
  type MessageWriter,
  message,
  NESTED,
  NLM_F,
  parseAttributes,
  readU8,
  readU16be,
} from "./nlmsg.ts";

const NFNL_SUBSYS_CTNETLINK = 1;
const CT = {
  GET: (NFNL_SUBSYS_CTNETLINK << 8) | 1,
  DELETE: (NFNL_SUBSYS_CTNETLINK << 8) | 2,
  GET_STATS: (NFNL_SUBSYS_CTNETLINK << 8) | 5,
} as const;
const CTA = { TUPLE_ORIG: 1, TUPLE_REPLY: 2 } as const;
const CTA_STATS_GLOBAL_ENTRIES = 1;
const TUPLE = { IP: 1, PROTO: 2 } as const;
const IP = { V4_SRC: 1, V4_DST: 2, V6_SRC: 3, V6_DST: 4 } as const;
const PROTO = { NUM: 1, SRC_PORT: 2, DST_PORT: 3 } as const;
const NFGENMSG_BYTES = 4;

/** TCP, UDP, DCCP, SCTP, UDP-Lite. */
const WITH_PORTS = new Set([6, 17, 33, 132, 136]);
/** Only of these protocols is a flow found by its addresses and ports alone. */
export const hasPorts = ({ original }: Flow): boolean => WITH_PORTS.has(original.protocol);

export type FlowTuple = {
  readonly source: string;
  readonly destination: string;
  /** IANA number. */
  readonly protocol: number;
  /** 0 for protocols without ports. */
  readonly sourcePort: number;
  readonly destinationPort: number;
};

export type Flow = {
  /** As the client sent it. */
  readonly original: FlowTuple;
  /** As answers come: its source is where the flow goes after translation. */
  readonly reply: FlowTuple;
};

const header = (w: MessageWriter, family: number): MessageWriter => w.u8(family).u8(0).u16(0);

/** All flows of the namespace. */
export const encodeFlowDump = (): Uint8Array =>
  message(CT.GET, NLM_F.REQUEST | NLM_F.DUMP, (w) => header(w, AF.UNSPEC));

/** Answered by one message for `decodeFlowCount`, however many flows there are. */
export const encodeFlowCount = (): Uint8Array =>
  message(CT.GET_STATS, NLM_F.REQUEST | NLM_F.ACK, (w) => header(w, AF.UNSPEC));

/**
 * By the tuple of the answers: a client that uses its port again makes a flow with the same original tuple, and that one must
 * live. `ENOENT` when it has ended. Only of protocols with ports.
 */
export const encodeFlowDelete = ({ reply }: Flow): Uint8Array => {
  const family = familyOf(reply.source);
  const [source, destination] = family === "inet" ? [IP.V4_SRC, IP.V4_DST] : [IP.V6_SRC, IP.V6_DST];
  return message(CT.DELETE, NLM_F.REQUEST | NLM_F.ACK, (w) => {
    header(w, family === "inet" ? AF.INET : AF.INET6);
    const tuple = () => {
      const addresses = () =>
        w.attr(source, addressBytes(reply.source)).attr(destination, addressBytes(reply.destination));
      const protocol = () =>
        w
          .attrU8(PROTO.NUM, reply.protocol)
          .attrU16be(PROTO.SRC_PORT, reply.sourcePort)
          .attrU16be(PROTO.DST_PORT, reply.destinationPort);
      w.nest(TUPLE.IP, addresses, NESTED).nest(TUPLE.PROTO, protocol, NESTED);
    };
    w.nest(CTA.TUPLE_REPLY, tuple, NESTED);
  });
};

export const decodeFlowCount = (payload: Uint8Array): number =>
  readU32be(parseAttributes(payload.subarray(NFGENMSG_BYTES)).get(CTA_STATS_GLOBAL_ENTRIES)) ?? 0;

export const decodeFlow = (payload: Uint8Array): Flow => {
  const attributes = parseAttributes(payload.subarray(NFGENMSG_BYTES));
  return {
    original: tupleOf(attributes.get(CTA.TUPLE_ORIG)),
    reply: tupleOf(attributes.get(CTA.TUPLE_REPLY)),
  };
};

/**
 * The lines of /proc/net/nf_conntrack: "ipv4 2 udp 17 59 src=… dst=… sport=… dport=… [UNREPLIED] src=… dst=… …". Connections
 * that are over are left out: a busy client has tens of thousands of them, for two minutes.
 */
export const parseFlowTable = (text: string): Flow[] => {
  const flows: Flow[] = [];
  for (const line of text.split("\n")) {
    const original = line.indexOf("src=");
    if (original < 0 || OVER.test(line)) continue;
    const protocol = Number(line.slice(0, original).trim().split(/\s+/, 4)[3]);
    const reply = line.indexOf("src=", original + 1);
    flows.push({
      original: tupleIn(line.slice(original, reply), protocol),
      reply: tupleIn(line.slice(reply), protocol),
    });
  }
  return flows;
};

const OVER = / (?:TIME_WAIT|CLOSE) src=/;

const tupleIn = (text: string, protocol: number): FlowTuple => {
  const value = (name: string): string => new RegExp(`\\b${name}=(\\S+)`).exec(text)?.[1] ?? "";
  return {
    source: canonicalAddress(value("src")),
    destination: canonicalAddress(value("dst")),
    protocol,
    sourcePort: Number(value("sport")),
    destinationPort: Number(value("dport")),
  };
};

const tupleOf = (bytes: Uint8Array | undefined): FlowTuple => {
  const tuple = parts(bytes);
  const ip = parts(tuple.get(TUPLE.IP));
  const protocol = parts(tuple.get(TUPLE.PROTO));
  const address = (v4: number, v6: number): string => {
    const found = ip.get(v4) ?? ip.get(v6);
    return found === undefined ? "" : addressText(found);
  };
  return {
    source: address(IP.V4_SRC, IP.V6_SRC),
    destination: address(IP.V4_DST, IP.V6_DST),
    protocol: readU8(protocol.get(PROTO.NUM)) ?? 0,
    sourcePort: readU16be(protocol.get(PROTO.SRC_PORT)) ?? 0,
    destinationPort: readU16be(protocol.get(PROTO.DST_PORT)) ?? 0,
  };
};

const parts = (bytes: Uint8Array | undefined): Attributes => parseAttributes(bytes ?? new Uint8Array());

const readU32be = (bytes: Uint8Array | undefined): number | undefined =>
  bytes === undefined ? undefined : new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, false);
