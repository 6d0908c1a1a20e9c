// Changes of an nftables table as one nfnetlink transaction: elements of maps, and chains that get another rule. Reference:
// linux/netfilter/nf_tables.h, nfnetlink.h. Integers of nfnetlink attributes are big-endian.
import { type MessageWriter, message, NESTED, NLM_F } from "./nlmsg.ts";

const NFNL_MSG_BATCH_BEGIN = 16;
const NFNL_MSG_BATCH_END = 17;
const NFNL_SUBSYS_NFTABLES = 10;
const type = (number: number): number => (NFNL_SUBSYS_NFTABLES << 8) | number;
const NFT_MSG = { addRule: type(6), delRule: type(8), addElement: type(12), delElement: type(14) } as const;
const LIST = { TABLE: 1, SET: 2, ELEMENTS: 3 } as const;
const ELEM = { ITEM: 1, KEY: 1, DATA: 2 } as const;
const DATA_VALUE = 1;
const RULE = { TABLE: 1, CHAIN: 2, EXPRESSIONS: 4 } as const;
const EXPR = { ITEM: 1, NAME: 1, DATA: 2 } as const;
const NFPROTO_INET = 1;
const BATCH_GENERATION = 1;
// A list is one attribute, of at most 64 KiB.
const ELEMENTS_PER_MESSAGE = 400;

/** Name, and what follows it. */
export type NftExpression = { readonly name: string; readonly write: (w: MessageWriter) => void };
export type NftElement = { readonly key: Uint8Array; readonly data: Uint8Array };

/** To change the value of an element: delete the key and add it in one transaction. */
export type NftChange =
  | { readonly op: "add-elements"; readonly map: string; readonly elements: readonly NftElement[] }
  | { readonly op: "del-elements"; readonly map: string; readonly keys: readonly Uint8Array[] }
  /** The chain's only rule afterwards. */
  | { readonly op: "set-rule"; readonly chain: string; readonly rule: readonly NftExpression[] };

export const u32be = (value: number): Uint8Array =>
  Uint8Array.of(value >>> 24, (value >>> 16) & 0xff, (value >>> 8) & 0xff, value & 0xff);

/** A value, as expressions and elements have it. */
export const writeValue = (w: MessageWriter, attribute: number, value: Uint8Array): void =>
  void w.nest(attribute, () => w.attr(DATA_VALUE, value), NESTED);

const header = (w: MessageWriter, family: number, resource: number): MessageWriter =>
  w
    .u8(family)
    .u8(0)
    .u8(resource >>> 8)
    .u8(resource & 0xff);

const elementMessages = (
  kind: number,
  flags: number,
  table: string,
  map: string,
  elements: readonly { readonly key: Uint8Array; readonly data?: Uint8Array }[],
): Uint8Array[] => {
  const messages: Uint8Array[] = [];
  for (let at = 0; at < elements.length; at += ELEMENTS_PER_MESSAGE) {
    const some = elements.slice(at, at + ELEMENTS_PER_MESSAGE);
    const list = (w: MessageWriter): void => {
      for (const { key, data } of some) {
        const element = (): void => {
          writeValue(w, ELEM.KEY, key);
          if (data !== undefined) writeValue(w, ELEM.DATA, data);
        };
        w.nest(ELEM.ITEM, element, NESTED);
      }
    };
    messages.push(
      message(kind, NLM_F.REQUEST | flags, (w) =>
        header(w, NFPROTO_INET, 0)
          .attrString(LIST.TABLE, table)
          .attrString(LIST.SET, map)
          .nest(LIST.ELEMENTS, list, NESTED),
      ),
    );
  }
  return messages;
};

const ruleMessages = (table: string, chain: string, rule: readonly NftExpression[]): Uint8Array[] => {
  const expressions = (w: MessageWriter): void => {
    for (const { name, write } of rule)
      w.nest(EXPR.ITEM, () => w.attrString(EXPR.NAME, name).nest(EXPR.DATA, write, NESTED), NESTED);
  };
  const inChain = (w: MessageWriter): MessageWriter =>
    header(w, NFPROTO_INET, 0).attrString(RULE.TABLE, table).attrString(RULE.CHAIN, chain);
  return [
    message(NFT_MSG.delRule, NLM_F.REQUEST, inChain),
    message(NFT_MSG.addRule, NLM_F.REQUEST | NLM_F.CREATE | NLM_F.APPEND, (w) =>
      inChain(w).nest(RULE.EXPRESSIONS, expressions, NESTED),
    ),
  ];
};

const encodeChange = (table: string, change: NftChange): Uint8Array[] => {
  switch (change.op) {
    case "add-elements":
      return elementMessages(NFT_MSG.addElement, NLM_F.CREATE, table, change.map, change.elements);
    case "del-elements":
      return elementMessages(
        NFT_MSG.delElement,
        0,
        table,
        change.map,
        change.keys.map((key) => ({ key })),
      );
    case "set-rule":
      return ruleMessages(table, change.chain, change.rule);
  }
};

const frame = (kind: number, generation?: number): Uint8Array =>
  message(kind, NLM_F.REQUEST, (w) => {
    header(w, 0, NFNL_SUBSYS_NFTABLES);
    if (generation !== undefined) w.attr(BATCH_GENERATION, u32be(generation));
  });

/** Changes of `table inet …`, to be sent between a beginning and an end. */
export const encodeChanges = (table: string, changes: readonly NftChange[]): Uint8Array =>
  concatenated(changes.flatMap((change) => encodeChange(table, change)));

/**
 * One transaction as one datagram: all is carried out or nothing. With `generation` only when the rulesets of the namespace
 * are of that generation still, else the kernel answers ERESTART.
 */
export const transaction = (changes: Uint8Array, generation?: number): Uint8Array =>
  concatenated([frame(NFNL_MSG_BATCH_BEGIN, generation), changes, frame(NFNL_MSG_BATCH_END)]);

const concatenated = (messages: readonly Uint8Array[]): Uint8Array => {
  const bytes = new Uint8Array(messages.reduce((length, each) => length + each.length, 0));
  let at = 0;
  for (const each of messages) {
    bytes.set(each, at);
    at += each.length;
  }
  return bytes;
};
