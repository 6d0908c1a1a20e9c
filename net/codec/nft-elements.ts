// Elements of nftables sets and maps as one nfnetlink transaction. Reference: linux/netfilter/nf_tables.h, nfnetlink.h.
// Integers of nfnetlink attributes are big-endian.
import { type MessageWriter, message, NESTED, NLM_F } from "./nlmsg.ts";

const NFNL_MSG_BATCH_BEGIN = 16;
const NFNL_MSG_BATCH_END = 17;
const NFNL_SUBSYS_NFTABLES = 10;
const NFT_MSG = { add: (NFNL_SUBSYS_NFTABLES << 8) | 12, del: (NFNL_SUBSYS_NFTABLES << 8) | 14 } as const;
const LIST = { TABLE: 1, SET: 2, ELEMENTS: 3 } as const;
const ELEM = { ITEM: 1, KEY: 1, DATA: 2 } as const;
const DATA = { VALUE: 1, VERDICT: 2 } as const;
const VERDICT = { CODE: 1, CHAIN: 2 } as const;
const VERDICT_CODES = { drop: 0, accept: 1, jump: -3, goto: -4 } as const;
const FAMILIES = { inet: 1, ip: 2, ip6: 10 } as const;
// A list is one attribute, of at most 64 KiB.
const ELEMENTS_PER_MESSAGE = 400;

export type NftFamily = keyof typeof FAMILIES;
export type NftVerdict =
  | { readonly verdict: "accept" | "drop" }
  | { readonly verdict: "jump" | "goto"; readonly chain: string };
export type NftElement = {
  readonly key: Uint8Array;
  /** The value of a map's element; absent for a set. To change a value: delete the key and add it in one transaction. */
  readonly data?: Uint8Array | NftVerdict;
};
export type ElementChange = {
  readonly op: "add" | "del";
  readonly set: string;
  readonly elements: readonly NftElement[];
};

/** Key or value of a concatenation ("ipv4_addr . inet_service"): every part is padded to four bytes. */
export const concatenation = (...parts: readonly Uint8Array[]): Uint8Array => {
  const bytes = new Uint8Array(parts.reduce((n, p) => n + ((p.length + 3) & ~3), 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += (part.length + 3) & ~3;
  }
  return bytes;
};

/** A port, or any 16-bit value, in network order. */
export const u16be = (value: number): Uint8Array => Uint8Array.of(value >>> 8, value & 0xff);

const header = (w: MessageWriter, family: number, resource: number): MessageWriter =>
  w
    .u8(family)
    .u8(0)
    .u8(resource >>> 8)
    .u8(resource & 0xff);

const u32be = (value: number): Uint8Array => {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setInt32(0, value, false);
  return bytes;
};

const writeData = (w: MessageWriter, type: number, data: Uint8Array | NftVerdict): void => {
  w.nest(
    type,
    () => {
      if (data instanceof Uint8Array) w.attr(DATA.VALUE, data);
      else {
        const write = () => {
          w.attr(VERDICT.CODE, u32be(VERDICT_CODES[data.verdict]));
          if ("chain" in data) w.attrString(VERDICT.CHAIN, data.chain);
        };
        w.nest(DATA.VERDICT, write, NESTED);
      }
    },
    NESTED,
  );
};

const changeMessage = (
  family: NftFamily,
  table: string,
  c: ElementChange,
  elements: readonly NftElement[],
): Uint8Array =>
  message(NFT_MSG[c.op], NLM_F.REQUEST | NLM_F.ACK | (c.op === "add" ? NLM_F.CREATE : 0), (w) => {
    header(w, FAMILIES[family], 0).attrString(LIST.TABLE, table).attrString(LIST.SET, c.set);
    const list = () => {
      for (const e of elements) {
        const element = () => {
          writeData(w, ELEM.KEY, e.key);
          if (e.data !== undefined) writeData(w, ELEM.DATA, e.data);
        };
        w.nest(ELEM.ITEM, element, NESTED);
      }
    };
    w.nest(LIST.ELEMENTS, list, NESTED);
  });

/** Messages of one transaction: begin, the changes in order, end. All are carried out or none. */
export const encodeElementChanges = (
  family: NftFamily,
  table: string,
  changes: readonly ElementChange[],
): Uint8Array[] => {
  const frame = (type: number) => message(type, NLM_F.REQUEST, (w) => header(w, 0, NFNL_SUBSYS_NFTABLES));
  const body: Uint8Array[] = [];
  for (const change of changes) {
    for (let at = 0; at < change.elements.length; at += ELEMENTS_PER_MESSAGE) {
      body.push(changeMessage(family, table, change, change.elements.slice(at, at + ELEMENTS_PER_MESSAGE)));
    }
  }
  return [frame(NFNL_MSG_BATCH_BEGIN), ...body, frame(NFNL_MSG_BATCH_END)];
};
