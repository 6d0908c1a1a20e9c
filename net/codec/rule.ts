// RTM_*RULE: policy routing. Reference: linux/fib_rules.h.
import { AF, addressBytes, addressText, type Family, familyNumber, parsePrefix } from "./address.ts";
import { message, NLM_F, parseAttributes, readString, readU8, readU32 } from "./nlmsg.ts";

export const RTM_RULE = { NEW: 32, DEL: 33, GET: 34 } as const;
const FRA = {
  DST: 1,
  SRC: 2,
  IIFNAME: 3,
  PRIORITY: 6,
  FWMARK: 10,
  TABLE: 15,
  FWMASK: 16,
  OIFNAME: 17,
  PROTOCOL: 21,
} as const;
const FR_ACT_TO_TBL = 1;

export type Rule = {
  readonly family: Family;
  readonly priority: number;
  readonly table: number;
  readonly from?: string;
  readonly to?: string;
  readonly mark?: number;
  readonly mask?: number;
  readonly inputName?: string;
  readonly outputName?: string;
  /** Routing protocol number: marks the rules that are ours. */
  readonly protocol?: number;
};

const encode = (type: number, flags: number, r: Rule): Uint8Array => {
  const from = r.from === undefined ? undefined : parsePrefix(r.from);
  const to = r.to === undefined ? undefined : parsePrefix(r.to);
  return message(type, NLM_F.REQUEST | NLM_F.ACK | flags, (w) => {
    w.u8(familyNumber(r.family))
      .u8(to?.bits ?? 0)
      .u8(from?.bits ?? 0)
      .u8(0);
    w.u8(r.table < 256 ? r.table : 0)
      .u8(0)
      .u8(0)
      .u8(FR_ACT_TO_TBL)
      .u32(0);
    w.attrU32(FRA.TABLE, r.table).attrU32(FRA.PRIORITY, r.priority);
    if (to !== undefined) w.attr(FRA.DST, addressBytes(to.address));
    if (from !== undefined) w.attr(FRA.SRC, addressBytes(from.address));
    if (r.mark !== undefined) w.attrU32(FRA.FWMARK, r.mark).attrU32(FRA.FWMASK, r.mask ?? 0xffffffff);
    if (r.inputName !== undefined) w.attrString(FRA.IIFNAME, r.inputName);
    if (r.outputName !== undefined) w.attrString(FRA.OIFNAME, r.outputName);
    if (r.protocol !== undefined) w.attrU8(FRA.PROTOCOL, r.protocol);
  });
};

/** Adds the rule; EEXIST when the same one is there. */
export const encodeRuleAdd = (r: Rule): Uint8Array => encode(RTM_RULE.NEW, NLM_F.CREATE | NLM_F.EXCL, r);
export const encodeRuleDel = (r: Rule): Uint8Array => encode(RTM_RULE.DEL, 0, r);
export const encodeRuleDump = (family: Family): Uint8Array =>
  message(RTM_RULE.GET, NLM_F.REQUEST | NLM_F.DUMP, (w) =>
    w.u8(familyNumber(family)).u8(0).u8(0).u8(0).u8(0).u8(0).u8(0).u8(0).u32(0),
  );

export const decodeRule = (payload: Uint8Array): Rule => {
  const a = parseAttributes(payload.subarray(12));
  const from = a.get(FRA.SRC);
  const to = a.get(FRA.DST);
  const mark = readU32(a.get(FRA.FWMARK));
  const inputName = readString(a.get(FRA.IIFNAME));
  const outputName = readString(a.get(FRA.OIFNAME));
  const protocol = readU8(a.get(FRA.PROTOCOL));
  return {
    family: payload[0] === AF.INET ? "inet" : "inet6",
    priority: readU32(a.get(FRA.PRIORITY)) ?? 0,
    table: readU32(a.get(FRA.TABLE)) ?? payload[4]!,
    ...(from && { from: `${addressText(from)}/${payload[2]}` }),
    ...(to && { to: `${addressText(to)}/${payload[1]}` }),
    ...(mark !== undefined && { mark, mask: readU32(a.get(FRA.FWMASK)) ?? 0xffffffff }),
    ...(inputName !== undefined && { inputName }),
    ...(outputName !== undefined && { outputName }),
    ...(protocol !== undefined && { protocol }),
  };
};
