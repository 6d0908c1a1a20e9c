// RTM_*NSID: the numbers by which one network namespace knows others. References: linux/net_namespace.h,
// net/core/net_namespace.c.
import { message, NLM_F, parseAttributes, readU32 } from "./nlmsg.ts";

const RTM_NSID = { NEW: 88, GET: 90 } as const;
const NETNSA = { NSID: 1, FD: 3 } as const;
const UNASSIGNED = 0xffff_ffff;

const encode = (type: number, fd: number, nsid?: number): Uint8Array =>
  message(type, NLM_F.REQUEST | NLM_F.ACK, (w) => {
    // struct rtgenmsg, padded
    w.u32(0).attrU32(NETNSA.FD, fd);
    if (nsid !== undefined) w.attrU32(NETNSA.NSID, nsid);
  });

/** Gives the namespace of the descriptor a number of the kernel's choice; EEXIST when it has one. */
export const encodeNsidAssign = (fd: number): Uint8Array => encode(RTM_NSID.NEW, fd, UNASSIGNED);
export const encodeNsidGet = (fd: number): Uint8Array => encode(RTM_NSID.GET, fd);

/** undefined: it has none. */
export const decodeNsid = (payload: Uint8Array): number | undefined => {
  const nsid = readU32(parseAttributes(payload.subarray(4)).get(NETNSA.NSID));
  return nsid === UNASSIGNED ? undefined : nsid;
};
