// Netlink notifications of a namespace on Node's own loop (koffi's uv_poll).
// Exports: watchNetns(netnsPath | null, topics, onEvent): { close() }; KernelEvent.
// After `{ topic: "overrun" }` events were lost: the listener has to compare by dumps.
import koffi from "koffi";
import { AF } from "#net/codec/address.ts";
import { decodeAddr, type ReportedAddress, RTM_ADDR } from "#net/codec/address-message.ts";
import { decodeLink, decodeLinkIndex, type Link, RTM_LINK } from "#net/codec/link.ts";
import {
  decodeFdb,
  decodeNeigh,
  isBridgeFamily,
  type ReportedFdbEntry,
  type ReportedNeighbour,
  RTM_NEIGH,
} from "#net/codec/neigh.ts";
import { messagesOf, type NetlinkMessage, parseAttributes, readU32 } from "#net/codec/nlmsg.ts";
import { decodeRoute, type ReportedRoute, RTM_ROUTE } from "#net/codec/route.ts";
import { decodeRule, RTM_RULE, type Rule } from "#net/codec/rule.ts";
import { errnoOf } from "./errno.ts";
import { NETLINK_ROUTE, NetlinkSocket } from "./netlink-socket.ts";

// RTNLGRP_* numbers of linux/rtnetlink.h.
const GROUPS = { link: [1], neigh: [3], addr: [5, 9], route: [7, 11], rule: [8, 19] } as const;
export type EventTopic = keyof typeof GROUPS;

export type KernelEvent =
  | { readonly topic: "link"; readonly gone: boolean; readonly link: Link }
  | { readonly topic: "addr"; readonly gone: boolean; readonly address: ReportedAddress }
  | { readonly topic: "route"; readonly gone: boolean; readonly route: ReportedRoute }
  | { readonly topic: "rule"; readonly gone: boolean; readonly rule: Rule }
  | { readonly topic: "neigh"; readonly gone: boolean; readonly neighbour: ReportedNeighbour }
  | { readonly topic: "fdb"; readonly gone: boolean; readonly entry: ReportedFdbEntry }
  /** A bridge reports on one of its ports. */
  | { readonly topic: "port"; readonly linkIndex: number }
  | { readonly topic: "forwarding"; readonly family: 4 | 6; readonly on: boolean }
  /** Something of a table. */
  | { readonly topic: "nft"; readonly table: string }
  | { readonly topic: "overrun" };

/** `undefined`: nothing that concerns anybody here. */
export const eventOf = (m: NetlinkMessage): KernelEvent | undefined => {
  switch (m.type) {
    case RTM_LINK.NEW:
    case RTM_LINK.DEL:
      // A bridge port reports a second time with family bridge and fewer attributes.
      if (isBridgeFamily(m.payload)) return { topic: "port", linkIndex: decodeLinkIndex(m.payload) };
      return { topic: "link", gone: m.type === RTM_LINK.DEL, link: decodeLink(m.payload) };
    case RTM_ADDR.NEW:
    case RTM_ADDR.DEL:
      return { topic: "addr", gone: m.type === RTM_ADDR.DEL, address: decodeAddr(m.payload) };
    case RTM_ROUTE.NEW:
    case RTM_ROUTE.DEL:
      return { topic: "route", gone: m.type === RTM_ROUTE.DEL, route: decodeRoute(m.payload) };
    case RTM_RULE.NEW:
    case RTM_RULE.DEL:
      return { topic: "rule", gone: m.type === RTM_RULE.DEL, rule: decodeRule(m.payload) };
    case RTM_NEIGH.NEW:
    case RTM_NEIGH.DEL: {
      const gone = m.type === RTM_NEIGH.DEL;
      if (isBridgeFamily(m.payload)) return { topic: "fdb", gone, entry: decodeFdb(m.payload) };
      return { topic: "neigh", gone, neighbour: decodeNeigh(m.payload) };
    }
    case RTM_NETCONF_NEW:
      return forwardingOf(m.payload);
    default:
      return undefined;
  }
};

const RTM_NETCONF_NEW = 80;
const NETCONFA = { IFINDEX: 1, FORWARDING: 2, ALL: -1 } as const;

/** Of a namespace as a whole: whether it forwards (linux/netconf.h). */
const forwardingOf = (payload: Uint8Array): KernelEvent | undefined => {
  const a = parseAttributes(payload.subarray(4));
  const on = readU32(a.get(NETCONFA.FORWARDING));
  if (on === undefined || readU32(a.get(NETCONFA.IFINDEX)) !== NETCONFA.ALL >>> 0) return undefined;
  return { topic: "forwarding", family: payload[0] === AF.INET ? 4 : 6, on: on !== 0 };
};

// Without a reference a poll handle is collected and falls silent.
const watched = new Set<ReturnType<typeof koffi.node.poll>>();

export const watchNetns = (
  netnsPath: string | null,
  topics: readonly EventTopic[],
  onEvent: (event: KernelEvent) => void,
): { close(): void } => {
  const groups = topics.flatMap((t) => GROUPS[t]);
  const socket = NetlinkSocket.open(netnsPath, NETLINK_ROUTE, groups);
  let closed = false;

  /** Everything that is there; true when the socket was overrun in between. */
  const drain = (): boolean => {
    let overrun = false;
    while (!closed) {
      try {
        const datagram = socket.tryReceive("receive netlink notifications");
        if (datagram === undefined) return overrun;
        // Decoded before the listener runs: it may use another socket and with it the shared receive buffer.
        for (const event of [...messagesOf(datagram)].map(eventOf)) if (event !== undefined) onEvent(event);
      } catch (error) {
        if (errnoOf(error) !== "ENOBUFS") throw error;
        overrun = true;
      }
    }
    return overrun;
  };

  // koffi's types leave out the status, which comes first: libuv reports a socket error there and stops polling.
  const onPoll = ((status: number) => {
    const overrun = drain();
    if (closed) return;
    if (status < 0) handle.start({ readable: true }, onPoll);
    if (overrun || status < 0) onEvent({ topic: "overrun" });
  }) as unknown as () => void;
  const handle = koffi.node.poll(socket.fd, { readable: true }, onPoll);
  watched.add(handle);

  return {
    close: () => {
      if (closed) return;
      closed = true;
      handle.close();
      watched.delete(handle);
      socket.close();
    },
  };
};
