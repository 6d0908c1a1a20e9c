// The expressions of the rule "dnat to numgen random mod n map @m[:port]", as libnftables writes them. Reference:
// linux/netfilter/nf_tables.h.
import { addressBytes, type Family, familyNumber } from "./address.ts";
import { type NftExpression, u32be, writeValue } from "./nft-transaction.ts";
import type { MessageWriter } from "./nlmsg.ts";

const REG_1 = 1;
const REG_2 = 2;
const META = { DREG: 1, KEY: 2, L4PROTO: 16 } as const;
const CMP = { SREG: 1, OP: 2, DATA: 3, EQ: 0 } as const;
const NUMGEN = { DREG: 1, MODULUS: 2, TYPE: 3, OFFSET: 4, RANDOM: 1 } as const;
const LOOKUP = { SET: 1, SREG: 2, DREG: 3 } as const;
const IMMEDIATE = { DREG: 1, DATA: 2 } as const;
const NAT = { TYPE: 1, FAMILY: 2, REG_ADDR_MIN: 3, REG_PROTO_MIN: 5, FLAGS: 7, DNAT: 1 } as const;
/** NF_NAT_RANGE_PROTO_SPECIFIED; the kernel adds the one for addresses. */
const WITH_PORT = 2;

export type Translation = {
  readonly family: Family;
  /** Of numbers to addresses of that family. */
  readonly map: string;
  /** Numbers are below; at least 1. */
  readonly modulus: number;
  /** `protocol`: its IP protocol number. Absent: any, and the port stays. */
  readonly port?: { readonly protocol: number; readonly target: number };
};

export const translation = ({ family, map, modulus, port }: Translation): NftExpression[] => [
  ...(port === undefined ? [] : matchProtocol(port.protocol)),
  {
    name: "numgen",
    write: (w) => {
      number(w, NUMGEN.DREG, REG_1);
      number(w, NUMGEN.MODULUS, modulus);
      number(w, NUMGEN.TYPE, NUMGEN.RANDOM);
      number(w, NUMGEN.OFFSET, 0);
    },
  },
  {
    name: "lookup",
    write: (w) => {
      number(w, LOOKUP.SREG, REG_1);
      number(w, LOOKUP.DREG, REG_1);
      w.attrString(LOOKUP.SET, map);
    },
  },
  ...(port === undefined ? [] : [loadPort(port.target)]),
  {
    name: "nat",
    write: (w) => {
      number(w, NAT.TYPE, NAT.DNAT);
      number(w, NAT.FAMILY, familyNumber(family));
      number(w, NAT.REG_ADDR_MIN, REG_1);
      if (port === undefined) return;
      number(w, NAT.REG_PROTO_MIN, REG_2);
      number(w, NAT.FLAGS, WITH_PORT);
    },
  },
];

/** A number in the host's order, as numgen writes it, and an address. */
export const slotKey = (slot: number): Uint8Array => new Uint8Array(Uint32Array.of(slot).buffer);
export const slotData = (address: string): Uint8Array => addressBytes(address);

const number = (w: MessageWriter, attribute: number, value: number): void => void w.attr(attribute, u32be(value));

const matchProtocol = (protocol: number): NftExpression[] => [
  {
    name: "meta",
    write: (w) => {
      number(w, META.KEY, META.L4PROTO);
      number(w, META.DREG, REG_1);
    },
  },
  {
    name: "cmp",
    write: (w) => {
      number(w, CMP.SREG, REG_1);
      number(w, CMP.OP, CMP.EQ);
      writeValue(w, CMP.DATA, Uint8Array.of(protocol));
    },
  },
];

const loadPort = (port: number): NftExpression => ({
  name: "immediate",
  write: (w) => {
    number(w, IMMEDIATE.DREG, REG_2);
    writeValue(w, IMMEDIATE.DATA, Uint8Array.of(port >>> 8, port & 0xff));
  },
});
