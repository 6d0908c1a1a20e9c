// What this kernel can do, found out by doing it in a namespace that vanishes afterwards.
// Exports: probeCapabilities(): feature → "" or the reason why it can't be had.
import { AF, addressBytes } from "#net/codec/address.ts";
import { type MessageWriter, message, NLM_F } from "#net/codec/nlmsg.ts";
import { NETLINK_ROUTE, NetlinkSocket } from "./netlink-socket.ts";
import { withFreshNetns } from "./netns.ts";
import { runNft } from "./nft.ts";
import { type LinkKindSpec, Rtnl } from "./rtnl.ts";

const NETLINK_XFRM = 6;

export const CAPABILITIES = [
  "veth",
  "bridge",
  "vxlan",
  "macvlan",
  "ipvlan",
  "8021q",
  "nftables",
  "nft-nat",
  "esp",
  "netem",
] as const;
export type Capability = (typeof CAPABILITIES)[number];

/** Synchronous, about 10 ms and more where the kernel loads modules for it. Needs root. */
export const probeCapabilities = (): Readonly<Record<Capability, string>> =>
  withFreshNetns(() => {
    const rtnl = Rtnl.open(null);
    const link = (name: string, spec: LinkKindSpec) => () => rtnl.linkAdd({ name, spec });
    try {
      return {
        veth: reasonOf(link("p0", { kind: "veth", peer: { name: "p1" } })),
        bridge: reasonOf(link("p2", { kind: "bridge" })),
        vxlan: reasonOf(link("p3", { kind: "vxlan", id: 1, port: 4789, learning: false, proxy: true })),
        macvlan: reasonOf(link("p4", { kind: "macvlan", mode: "bridge", parent: "p0" })),
        // Not on p0: ipvlan and macvlan refuse to share a parent.
        ipvlan: reasonOf(link("p5", { kind: "ipvlan", mode: "l2", parent: "p1" })),
        "8021q": reasonOf(link("p6", { kind: "vlan", id: 5, parent: "p0" })),
        nftables: reasonOf(() => runNft(null, "add table inet probe")),
        "nft-nat": reasonOf(() => runNft(null, NAT_RULES)),
        esp: reasonOf(probeEsp),
        netem: reasonOf(() => probeNetem(rtnl.linkIndex("lo"))),
      };
    } finally {
      rtnl.close();
    }
  });

const NAT_RULES = `table inet probe {
  chain c {
    type nat hook postrouting priority srcnat
    ip daddr 192.0.2.0/24 masquerade
  }
}`;

const reasonOf = (probe: () => void): string => {
  try {
    probe();
    return "";
  } catch (error) {
    return (error as Error).message;
  }
};

const withSocket = (protocol: number, bytes: Uint8Array, what: string): void => {
  const socket = NetlinkSocket.open(null, protocol);
  try {
    socket.request(bytes, what);
  } finally {
    socket.close();
  }
};

/** XFRM_MSG_NEWSA with struct xfrm_usersa_info (linux/xfrm.h): a state as encrypted overlays use it. */
const probeEsp = (): void => {
  const zeros = (w: MessageWriter, bytes: number) => w.raw(new Uint8Array(bytes));
  const address = (w: MessageWriter, text: string) => zeros(w.raw(addressBytes(text)), 12);
  const XFRM_MSG_NEWSA = 16;
  const XFRMA_ALG_AEAD = 18;
  const bytes = message(XFRM_MSG_NEWSA, NLM_F.REQUEST | NLM_F.ACK | NLM_F.CREATE | NLM_F.EXCL, (w) => {
    zeros(w, 56); // selector
    address(w, "192.0.2.2")
      .raw(Uint8Array.of(0, 0, 1, 0))
      .u8(50)
      .u8(0)
      .u16(0);
    address(w, "192.0.2.1");
    for (let i = 0; i < 4; i++) w.raw(new Uint8Array(8).fill(0xff)); // limits: none
    zeros(w, 32 + 32 + 12);
    w.u32(0).u32(1).u16(AF.INET).u8(0).u8(32);
    zeros(w, 8);
    const algorithm = new Uint8Array(64 + 8 + 20);
    algorithm.set(new TextEncoder().encode("rfc4106(gcm(aes))"));
    const view = new DataView(algorithm.buffer);
    view.setUint32(64, 160, true);
    view.setUint32(68, 128, true);
    w.attr(XFRMA_ALG_AEAD, algorithm);
  });
  withSocket(NETLINK_XFRM, bytes, "add an ESP state");
};

/** RTM_NEWQDISC with struct tcmsg and an empty struct tc_netem_qopt (linux/pkt_sched.h). */
const probeNetem = (linkIndex: number): void => {
  const RTM_NEWQDISC = 36;
  const TC_H_ROOT = 0xffffffff;
  const bytes = message(RTM_NEWQDISC, NLM_F.REQUEST | NLM_F.ACK | NLM_F.CREATE | NLM_F.EXCL, (w) => {
    w.u32(0).u32(linkIndex).u32(0).u32(TC_H_ROOT).u32(0).attrString(1, "netem").attr(2, new Uint8Array(24));
  });
  withSocket(NETLINK_ROUTE, bytes, "add a netem queue");
};
