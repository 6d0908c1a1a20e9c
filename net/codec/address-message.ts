// RTM_*ADDR: addresses of interfaces. References: linux/if_addr.h, RFC 3549 §2.3.3.2.
import { AF, addressBytes, addressText, type Family, familyNumber, familyOf, parsePrefix } from "./address.ts";
import { message, NLM_F, parseAttributes, readU32 } from "./nlmsg.ts";

export const RTM_ADDR = { NEW: 20, DEL: 21, GET: 22 } as const;
const IFA = { ADDRESS: 1, LOCAL: 2, FLAGS: 8 } as const;
const IFA_F = { NODAD: 0x02, DADFAILED: 0x08, TENTATIVE: 0x40, NOPREFIXROUTE: 0x200 } as const;
const SCOPES: Readonly<Record<number, string>> = { 0: "global", 200: "site", 253: "link", 254: "host", 255: "nowhere" };

export type InterfaceAddress = {
  readonly linkIndex: number;
  /** "10.0.0.2/24", "fd00::2/64". */
  readonly cidr: string;
  readonly noPrefixRoute?: boolean;
};
export type ReportedAddress = {
  readonly linkIndex: number;
  readonly cidr: string;
  readonly family: Family;
  readonly scope: string;
  readonly tentative: boolean;
  readonly dadFailed: boolean;
  readonly noPrefixRoute: boolean;
};

const body = (type: number, flags: number, a: InterfaceAddress): Uint8Array => {
  const { address, bits } = parsePrefix(a.cidr);
  const bytes = addressBytes(address);
  const family = familyOf(address);
  return message(type, NLM_F.REQUEST | NLM_F.ACK | flags, (w) => {
    w.u8(familyNumber(family))
      .u8(bits)
      .u8(0)
      .u8(address === "127.0.0.1" || address === "::1" ? 254 : 0)
      .u32(a.linkIndex);
    w.attr(IFA.LOCAL, bytes).attr(IFA.ADDRESS, bytes);
    // Addresses come from IPAM and are unique: duplicate detection would only delay the first packet by a second.
    const bitsSet = (family === "inet6" ? IFA_F.NODAD : 0) | (a.noPrefixRoute ? IFA_F.NOPREFIXROUTE : 0);
    if (type === RTM_ADDR.NEW) w.attrU32(IFA.FLAGS, bitsSet);
  });
};

/** Adds or, when the address exists, updates it. */
export const encodeAddrReplace = (a: InterfaceAddress): Uint8Array =>
  body(RTM_ADDR.NEW, NLM_F.CREATE | NLM_F.REPLACE, a);
export const encodeAddrAdd = (a: InterfaceAddress): Uint8Array => body(RTM_ADDR.NEW, NLM_F.CREATE | NLM_F.EXCL, a);
export const encodeAddrDel = (a: InterfaceAddress): Uint8Array => body(RTM_ADDR.DEL, 0, a);
export const encodeAddrDump = (): Uint8Array =>
  message(RTM_ADDR.GET, NLM_F.REQUEST | NLM_F.DUMP, (w) => w.u8(AF.UNSPEC).u8(0).u8(0).u8(0).u32(0));

export const decodeAddr = (payload: Uint8Array): ReportedAddress => {
  const view = new DataView(payload.buffer, payload.byteOffset);
  const a = parseAttributes(payload.subarray(8));
  const flags = readU32(a.get(IFA.FLAGS)) ?? payload[2]!;
  return {
    linkIndex: view.getUint32(4, true),
    cidr: `${addressText(a.get(IFA.LOCAL) ?? a.get(IFA.ADDRESS)!)}/${payload[1]}`,
    family: payload[0] === AF.INET ? "inet" : "inet6",
    scope: SCOPES[payload[3]!] ?? String(payload[3]),
    tentative: (flags & IFA_F.TENTATIVE) !== 0,
    dadFailed: (flags & IFA_F.DADFAILED) !== 0,
    noPrefixRoute: (flags & IFA_F.NOPREFIXROUTE) !== 0,
  };
};
