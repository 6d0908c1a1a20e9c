// RTM_*LINK. References: linux/if_link.h, net/core/rtnetlink.c.
import { addressBytes, addressText, macBytes, macText } from "./address.ts";
import {
  type Attributes,
  type MessageWriter,
  message,
  NLM_F,
  parseAttributes,
  readString,
  readU8,
  readU16,
  readU16be,
  readU32,
} from "./nlmsg.ts";

export const RTM_LINK = { NEW: 16, DEL: 17, GET: 18, SET: 19 } as const;
export const IFF = { UP: 0x1, LOOPBACK: 0x8, PROMISC: 0x100, LOWER_UP: 0x10000 } as const;
const IFF_UP = IFF.UP;

const IFLA = {
  ADDRESS: 1,
  IFNAME: 3,
  MTU: 4,
  LINK: 5,
  MASTER: 10,
  OPERSTATE: 16,
  LINKINFO: 18,
  IFALIAS: 20,
  GROUP: 27,
  NET_NS_FD: 28,
  EXT_MASK: 29,
  LINK_NETNSID: 37,
} as const;
// Counters make up half of every answer and nobody here reads them.
const RTEXT_FILTER_SKIP_STATS = 1 << 3;
const INFO = { KIND: 1, DATA: 2, SLAVE_KIND: 4, SLAVE_DATA: 5 } as const;
const BR = { FORWARD_DELAY: 1, STP_STATE: 5, VLAN_FILTERING: 7, MCAST_SNOOPING: 23 } as const;
const BRPORT = {
  MODE: 4,
  LEARNING: 8,
  UNICAST_FLOOD: 9,
  MCAST_FLOOD: 27,
  BCAST_FLOOD: 30,
  NEIGH_SUPPRESS: 32,
  ISOLATED: 33,
} as const;
const VXLAN = {
  ID: 1,
  LINK: 3,
  LOCAL: 4,
  TTL: 5,
  LEARNING: 7,
  PROXY: 11,
  PORT: 15,
  LOCAL6: 17,
  UDP_CSUM: 18,
  UDP_ZERO_CSUM6_TX: 19,
  UDP_ZERO_CSUM6_RX: 20,
} as const;
const VETH_INFO_PEER = 1;
const MACVLAN_MODES = { private: 1, vepa: 2, bridge: 4, passthru: 8 } as const;
const IPVLAN = { MODE: 1, FLAGS: 2 } as const;
const IPVLAN_MODES = { l2: 0, l3: 1, l3s: 2 } as const;
const IPVLAN_FLAGS = { bridge: 0, private: 1, vepa: 2 } as const;
const OPERSTATES = ["unknown", "notpresent", "down", "lowerlayerdown", "testing", "dormant", "up"] as const;

/** What every link can carry. Indexes and file descriptors are resolved by the caller; nothing here touches the system. */
export type LinkAttributes = {
  readonly name?: string;
  readonly mtu?: number;
  readonly address?: string;
  /** Free text shown by `ip link`; ours marks our objects. "" removes it. The kernel ignores it in a message that creates. */
  readonly alias?: string;
  readonly group?: number;
  /** Index of the bridge this link is a port of; 0 releases it. */
  readonly masterIndex?: number;
  readonly up?: boolean;
  /** Create the link in, or move it to, this namespace. */
  readonly netnsFd?: number;
};

/** No `up`: the kernel would open the peer before the pair is joined and answer ENOTCONN. */
export type VethPeer = {
  readonly name: string;
  readonly mtu?: number;
  readonly address?: string;
  readonly group?: number;
  readonly netnsFd?: number;
};

export type LinkKind =
  | {
      readonly kind: "bridge";
      readonly mcastSnooping?: boolean;
      /** In hundredths of a second, as the kernel has it. */
      readonly forwardDelay?: number;
      readonly stp?: boolean;
      readonly vlanFiltering?: boolean;
    }
  | { readonly kind: "veth"; readonly peer: VethPeer }
  | {
      readonly kind: "vxlan";
      readonly id: number;
      /** Source address of the tunnel; its family decides the underlay's. */
      readonly local?: string;
      readonly port: number;
      readonly learning: boolean;
      readonly proxy: boolean;
      readonly ttl?: number;
      readonly udpChecksum?: boolean;
      readonly linkIndex?: number;
    }
  | { readonly kind: "macvlan"; readonly mode: keyof typeof MACVLAN_MODES; readonly parentIndex: number }
  | {
      readonly kind: "ipvlan";
      readonly mode: keyof typeof IPVLAN_MODES;
      readonly flag?: keyof typeof IPVLAN_FLAGS;
      readonly parentIndex: number;
    }
  | { readonly kind: "vlan"; readonly id: number; readonly parentIndex: number }
  | { readonly kind: "dummy" };

/** Settings of a bridge port. */
export type BridgePort = {
  readonly hairpin?: boolean;
  readonly isolated?: boolean;
  readonly learning?: boolean;
  readonly unicastFlood?: boolean;
  readonly mcastFlood?: boolean;
  readonly bcastFlood?: boolean;
  readonly neighSuppress?: boolean;
};

/** A link as the kernel reports it. Unknown kinds come with kind and no data. */
export type Link = {
  readonly index: number;
  readonly name: string;
  readonly up: boolean;
  readonly carrier: boolean;
  readonly operstate: string;
  readonly mtu: number;
  readonly address: string | undefined;
  readonly alias: string | undefined;
  readonly group: number;
  readonly masterIndex: number | undefined;
  /** The other end of a veth, the parent of a macvlan: an index in namespace `linkNetnsId`, in this one when undefined. */
  readonly linkIndex: number | undefined;
  readonly linkNetnsId: number | undefined;
  /** "" for a device without rtnl operations (lo, hardware). */
  readonly kind: string;
  readonly vxlan: VxlanInfo | undefined;
  readonly macvlanMode: string | undefined;
  readonly ipvlanMode: string | undefined;
  readonly ipvlanFlag: string | undefined;
  readonly vlanId: number | undefined;
  readonly bridge:
    | { readonly mcastSnooping: boolean; readonly stp: boolean; readonly vlanFiltering: boolean }
    | undefined;
  readonly port: Required<BridgePort> | undefined;
};
export type VxlanInfo = {
  readonly id: number;
  readonly local: string | undefined;
  readonly port: number;
  readonly learning: boolean;
  readonly proxy: boolean;
  readonly ttl: number;
  readonly udpChecksum: boolean;
};

const ifinfo = (w: MessageWriter, index: number, up: boolean | undefined): MessageWriter =>
  w
    .u8(0)
    .u8(0)
    .u16(0)
    .u32(index)
    .u32(up ? IFF_UP : 0)
    .u32(up === undefined ? 0 : IFF_UP);

const writeAttributes = (w: MessageWriter, a: LinkAttributes): void => {
  if (a.name !== undefined) w.attrString(IFLA.IFNAME, a.name);
  if (a.mtu !== undefined) w.attrU32(IFLA.MTU, a.mtu);
  if (a.address !== undefined) w.attr(IFLA.ADDRESS, macBytes(a.address));
  if (a.alias !== undefined) w.attr(IFLA.IFALIAS, new TextEncoder().encode(a.alias));
  if (a.group !== undefined) w.attrU32(IFLA.GROUP, a.group);
  if (a.masterIndex !== undefined) w.attrU32(IFLA.MASTER, a.masterIndex);
  if (a.netnsFd !== undefined) w.attrU32(IFLA.NET_NS_FD, a.netnsFd);
};

const writeKindData = (w: MessageWriter, k: LinkKind): void => {
  switch (k.kind) {
    case "bridge":
      if (k.forwardDelay !== undefined) w.attrU32(BR.FORWARD_DELAY, k.forwardDelay);
      if (k.stp !== undefined) w.attrU32(BR.STP_STATE, Number(k.stp));
      if (k.vlanFiltering !== undefined) w.attrU8(BR.VLAN_FILTERING, Number(k.vlanFiltering));
      if (k.mcastSnooping !== undefined) w.attrU8(BR.MCAST_SNOOPING, Number(k.mcastSnooping));
      return;
    case "veth":
      w.nest(VETH_INFO_PEER, () => {
        ifinfo(w, 0, undefined);
        writeAttributes(w, k.peer);
      });
      return;
    case "vxlan": {
      w.attrU32(VXLAN.ID, k.id);
      if (k.linkIndex !== undefined) w.attrU32(VXLAN.LINK, k.linkIndex);
      const local = k.local === undefined ? undefined : addressBytes(k.local);
      if (local !== undefined) w.attr(local.length === 4 ? VXLAN.LOCAL : VXLAN.LOCAL6, local);
      if (k.ttl !== undefined) w.attrU8(VXLAN.TTL, k.ttl);
      w.attrU8(VXLAN.LEARNING, Number(k.learning)).attrU8(VXLAN.PROXY, Number(k.proxy)).attrU16be(VXLAN.PORT, k.port);
      if (k.udpChecksum === undefined) return;
      w.attrU8(VXLAN.UDP_CSUM, Number(k.udpChecksum));
      // Over IPv6 a missing checksum is a separate, explicit permission for each direction.
      if (local?.length === 16) {
        w.attrU8(VXLAN.UDP_ZERO_CSUM6_TX, Number(!k.udpChecksum)).attrU8(
          VXLAN.UDP_ZERO_CSUM6_RX,
          Number(!k.udpChecksum),
        );
      }
      return;
    }
    case "macvlan":
      w.attrU32(1, MACVLAN_MODES[k.mode]);
      return;
    case "ipvlan":
      w.attrU16(IPVLAN.MODE, IPVLAN_MODES[k.mode]);
      if (k.flag !== undefined) w.attrU16(IPVLAN.FLAGS, IPVLAN_FLAGS[k.flag]);
      return;
    case "vlan":
      w.attrU16(1, k.id);
      return;
    case "dummy":
      return;
  }
};

/** RTM_NEWLINK with CREATE|EXCL. `attributes.name` is required by the kernel's callers here, `netnsFd` places the link. */
export const encodeLinkAdd = (attributes: LinkAttributes & { readonly name: string }, kind: LinkKind): Uint8Array =>
  message(RTM_LINK.NEW, NLM_F.REQUEST | NLM_F.ACK | NLM_F.CREATE | NLM_F.EXCL, (w) => {
    ifinfo(w, 0, attributes.up);
    writeAttributes(w, attributes);
    if ("parentIndex" in kind) w.attrU32(IFLA.LINK, kind.parentIndex);
    w.nest(IFLA.LINKINFO, () => {
      w.attrString(INFO.KIND, kind.kind);
      w.nest(INFO.DATA, () => writeKindData(w, kind));
    });
  });

/** RTM_NEWLINK on an existing index: changes what is given, leaves the rest. */
export const encodeLinkSet = (index: number, change: LinkAttributes, port?: BridgePort): Uint8Array =>
  message(RTM_LINK.NEW, NLM_F.REQUEST | NLM_F.ACK, (w) => {
    ifinfo(w, index, change.up);
    writeAttributes(w, change);
    if (port === undefined) return;
    w.nest(IFLA.LINKINFO, () => {
      w.attrString(INFO.SLAVE_KIND, "bridge");
      w.nest(INFO.SLAVE_DATA, () => {
        const set = (type: number, value: boolean | undefined) => value !== undefined && w.attrU8(type, Number(value));
        set(BRPORT.MODE, port.hairpin);
        set(BRPORT.ISOLATED, port.isolated);
        set(BRPORT.LEARNING, port.learning);
        set(BRPORT.UNICAST_FLOOD, port.unicastFlood);
        set(BRPORT.MCAST_FLOOD, port.mcastFlood);
        set(BRPORT.BCAST_FLOOD, port.bcastFlood);
        set(BRPORT.NEIGH_SUPPRESS, port.neighSuppress);
      });
    });
  });

export const encodeLinkDel = (index: number): Uint8Array =>
  message(RTM_LINK.DEL, NLM_F.REQUEST | NLM_F.ACK, (w) => ifinfo(w, index, undefined));

/** Deletes all links of a group at once: one wait for RCU instead of one per link. */
export const encodeLinkDelGroup = (group: number): Uint8Array =>
  message(RTM_LINK.DEL, NLM_F.REQUEST | NLM_F.ACK, (w) => ifinfo(w, 0, undefined).attrU32(IFLA.GROUP, group));

export const encodeLinkGet = (which: { readonly name: string } | { readonly index: number }): Uint8Array =>
  message(RTM_LINK.GET, NLM_F.REQUEST | NLM_F.ACK, (w) => {
    ifinfo(w, "index" in which ? which.index : 0, undefined);
    w.attrU32(IFLA.EXT_MASK, RTEXT_FILTER_SKIP_STATS);
    if ("name" in which) w.attrString(IFLA.IFNAME, which.name);
  });

export const encodeLinkDump = (): Uint8Array =>
  message(RTM_LINK.GET, NLM_F.REQUEST | NLM_F.DUMP, (w) =>
    ifinfo(w, 0, undefined).attrU32(IFLA.EXT_MASK, RTEXT_FILTER_SKIP_STATS),
  );

const nameOf = (names: Readonly<Record<string, number>>, value: number | undefined): string | undefined =>
  Object.entries(names).find(([, v]) => v === value)?.[0];

const decodeVxlan = (data: Attributes): VxlanInfo => {
  const local = [data.get(VXLAN.LOCAL), data.get(VXLAN.LOCAL6)].find((b) => b?.some((x) => x !== 0));
  return {
    id: readU32(data.get(VXLAN.ID)) ?? 0,
    local: local && addressText(local),
    port: readU16be(data.get(VXLAN.PORT)) ?? 0,
    learning: readU8(data.get(VXLAN.LEARNING)) === 1,
    proxy: readU8(data.get(VXLAN.PROXY)) === 1,
    ttl: readU8(data.get(VXLAN.TTL)) ?? 0,
    udpChecksum:
      local?.length === 16 ? readU8(data.get(VXLAN.UDP_ZERO_CSUM6_TX)) !== 1 : readU8(data.get(VXLAN.UDP_CSUM)) === 1,
  };
};

const decodePort = (data: Attributes): Required<BridgePort> => {
  const on = (type: number) => readU8(data.get(type)) === 1;
  return {
    hairpin: on(BRPORT.MODE),
    isolated: on(BRPORT.ISOLATED),
    learning: on(BRPORT.LEARNING),
    unicastFlood: on(BRPORT.UNICAST_FLOOD),
    mcastFlood: on(BRPORT.MCAST_FLOOD),
    bcastFlood: on(BRPORT.BCAST_FLOOD),
    neighSuppress: on(BRPORT.NEIGH_SUPPRESS),
  };
};

/** The index alone, of a payload that `decodeLink` takes. */
export const decodeLinkIndex = (payload: Uint8Array): number =>
  new DataView(payload.buffer, payload.byteOffset).getInt32(4, true);

/** Payload of RTM_NEWLINK or RTM_DELLINK. */
export const decodeLink = (payload: Uint8Array): Link => {
  const view = new DataView(payload.buffer, payload.byteOffset);
  const flags = view.getUint32(8, true);
  const a = parseAttributes(payload.subarray(16));
  const info = parseAttributes(a.get(IFLA.LINKINFO) ?? new Uint8Array());
  const data = parseAttributes(info.get(INFO.DATA) ?? new Uint8Array());
  const kind = readString(info.get(INFO.KIND)) ?? "";
  const mac = a.get(IFLA.ADDRESS);
  const portData = readString(info.get(INFO.SLAVE_KIND)) === "bridge" ? info.get(INFO.SLAVE_DATA) : undefined;
  return {
    index: view.getInt32(4, true),
    name: readString(a.get(IFLA.IFNAME)) ?? "",
    up: (flags & IFF.UP) !== 0,
    carrier: (flags & IFF.LOWER_UP) !== 0,
    operstate: OPERSTATES[readU8(a.get(IFLA.OPERSTATE)) ?? 0] ?? "unknown",
    mtu: readU32(a.get(IFLA.MTU)) ?? 0,
    address: mac?.length === 6 ? macText(mac) : undefined,
    alias: readString(a.get(IFLA.IFALIAS)),
    group: readU32(a.get(IFLA.GROUP)) ?? 0,
    masterIndex: readU32(a.get(IFLA.MASTER)),
    linkIndex: readU32(a.get(IFLA.LINK)),
    linkNetnsId: readU32(a.get(IFLA.LINK_NETNSID)),
    kind,
    vxlan: kind === "vxlan" ? decodeVxlan(data) : undefined,
    macvlanMode: kind === "macvlan" ? nameOf(MACVLAN_MODES, readU32(data.get(1))) : undefined,
    ipvlanMode: kind === "ipvlan" ? nameOf(IPVLAN_MODES, readU16(data.get(IPVLAN.MODE))) : undefined,
    ipvlanFlag: kind === "ipvlan" ? nameOf(IPVLAN_FLAGS, readU16(data.get(IPVLAN.FLAGS)) ?? 0) : undefined,
    vlanId: kind === "vlan" ? readU16(data.get(1)) : undefined,
    bridge:
      kind === "bridge"
        ? {
            mcastSnooping: readU8(data.get(BR.MCAST_SNOOPING)) === 1,
            stp: readU32(data.get(BR.STP_STATE)) !== 0,
            vlanFiltering: readU8(data.get(BR.VLAN_FILTERING)) === 1,
          }
        : undefined,
    port: portData && decodePort(parseAttributes(portData)),
  };
};
