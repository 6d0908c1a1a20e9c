// RTM_*NEIGH: neighbours (ARP, ND) and, with family bridge, forwarding entries (MAC → VTEP).
// References: linux/neighbour.h, net/core/rtnetlink.c (rtnl_fdb_add), drivers/net/vxlan.
import { AF, addressBytes, addressText, type Family, familyNumber, familyOf, macBytes, macText } from "./address.ts";
import { type MessageWriter, message, NLM_F, parseAttributes, readU16, readU32 } from "./nlmsg.ts";

export const RTM_NEIGH = { NEW: 28, DEL: 29, GET: 30 } as const;
const NDA = { DST: 1, LLADDR: 2, VLAN: 5, MASTER: 9 } as const;
const NTF = { SELF: 0x02, MASTER: 0x04, EXT_LEARNED: 0x10, STICKY: 0x40 } as const;
const NUD = { REACHABLE: 0x02, STALE: 0x04, NOARP: 0x40, PERMANENT: 0x80 } as const;
const NUD_NAMES: Readonly<Record<number, string>> = {
  0: "none",
  1: "incomplete",
  2: "reachable",
  4: "stale",
  8: "delay",
  16: "probe",
  32: "failed",
  64: "noarp",
  128: "permanent",
};

export type Neighbour = { readonly linkIndex: number; readonly address: string; readonly mac: string };
export type ReportedNeighbour = {
  readonly linkIndex: number;
  readonly family: Family;
  readonly address: string;
  readonly mac: string | undefined;
  readonly state: string;
};

/** `destination`: the VTEP's address, written to the VXLAN device itself. Without: an entry of the bridge this port belongs to. */
export type FdbEntry = { readonly linkIndex: number; readonly mac: string; readonly destination?: string };
export type ReportedFdbEntry = {
  readonly linkIndex: number;
  readonly mac: string;
  readonly destination: string | undefined;
  readonly masterIndex: number | undefined;
  readonly vlan: number | undefined;
  /** Of the device itself (VXLAN, macvlan) rather than of the bridge above it. */
  readonly self: boolean;
  readonly state: string;
};

const ndmsg = (w: MessageWriter, family: number, index: number, state: number, flags: number) =>
  w.u8(family).u8(0).u16(0).u32(index).u16(state).u8(flags).u8(0);

const neighbour = (type: number, flags: number, n: Neighbour): Uint8Array =>
  message(type, NLM_F.REQUEST | NLM_F.ACK | flags, (w) => {
    ndmsg(w, familyNumber(familyOf(n.address)), n.linkIndex, NUD.PERMANENT, 0).attr(NDA.DST, addressBytes(n.address));
    if (type === RTM_NEIGH.NEW) w.attr(NDA.LLADDR, macBytes(n.mac));
  });

export const encodeNeighReplace = (n: Neighbour): Uint8Array =>
  neighbour(RTM_NEIGH.NEW, NLM_F.CREATE | NLM_F.REPLACE, n);
export const encodeNeighDel = (n: Neighbour): Uint8Array => neighbour(RTM_NEIGH.DEL, 0, n);
export const encodeNeighDump = (family: Family, linkIndex = 0): Uint8Array =>
  message(RTM_NEIGH.GET, NLM_F.REQUEST | NLM_F.DUMP, (w) => {
    ndmsg(w, familyNumber(family), 0, 0, 0);
    if (linkIndex !== 0) w.attrU32(8, linkIndex);
  });

const fdb = (type: number, flags: number, e: FdbEntry): Uint8Array =>
  message(type, NLM_F.REQUEST | NLM_F.ACK | flags, (w) => {
    const remote = e.destination;
    ndmsg(
      w,
      AF.BRIDGE,
      e.linkIndex,
      remote === undefined ? NUD.NOARP : NUD.NOARP | NUD.PERMANENT,
      remote === undefined ? NTF.MASTER : NTF.SELF,
    );
    w.attr(NDA.LLADDR, macBytes(e.mac));
    if (remote !== undefined) w.attr(NDA.DST, addressBytes(remote));
  });

/** The one destination of a MAC. For the all-zero MAC (flooding) use `encodeFdbAppend`, which keeps the others. */
export const encodeFdbReplace = (e: FdbEntry): Uint8Array => fdb(RTM_NEIGH.NEW, NLM_F.CREATE | NLM_F.REPLACE, e);
export const encodeFdbAppend = (e: FdbEntry): Uint8Array => fdb(RTM_NEIGH.NEW, NLM_F.CREATE | NLM_F.APPEND, e);
export const encodeFdbDel = (e: FdbEntry): Uint8Array => fdb(RTM_NEIGH.DEL, 0, e);
export const encodeFdbDump = (): Uint8Array =>
  message(RTM_NEIGH.GET, NLM_F.REQUEST | NLM_F.DUMP, (w) => ndmsg(w, AF.BRIDGE, 0, 0, 0));

const stateText = (state: number): string => {
  if (state & NUD.PERMANENT) return "permanent";
  return NUD_NAMES[state] ?? String(state);
};

export const isBridgeFamily = (payload: Uint8Array): boolean => payload[0] === AF.BRIDGE;

export const decodeNeigh = (payload: Uint8Array): ReportedNeighbour => {
  const view = new DataView(payload.buffer, payload.byteOffset);
  const a = parseAttributes(payload.subarray(12));
  const mac = a.get(NDA.LLADDR);
  return {
    linkIndex: view.getInt32(4, true),
    family: payload[0] === AF.INET ? "inet" : "inet6",
    address: addressText(a.get(NDA.DST)!),
    mac: mac?.length === 6 ? macText(mac) : undefined,
    state: stateText(view.getUint16(8, true)),
  };
};

export const decodeFdb = (payload: Uint8Array): ReportedFdbEntry => {
  const view = new DataView(payload.buffer, payload.byteOffset);
  const a = parseAttributes(payload.subarray(12));
  const destination = a.get(NDA.DST);
  return {
    linkIndex: view.getInt32(4, true),
    mac: macText(a.get(NDA.LLADDR)!),
    destination: destination && addressText(destination),
    masterIndex: readU32(a.get(NDA.MASTER)),
    vlan: readU16(a.get(NDA.VLAN)),
    self: (payload[10]! & NTF.SELF) !== 0,
    state: stateText(view.getUint16(8, true)),
  };
};
