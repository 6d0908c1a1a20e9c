// Notifications of many namespaces on a few sockets, whatever their number: the kernel passes on what happens in every namespace
// that has a number in the sockets' own (NETLINK_LISTEN_ALL_NSID, netlink(7)). So 1,500 containers cost no more than one.
// Nothing waits on them: whoever wants to know drains them now and then, which costs 2 µs when nothing is there. (A callback
// of koffi's poll ends the process when it comes while its worker is being terminated.)
// Exports: NamespaceEvents.
import koffi from "koffi";
import { tableOfNftEvent } from "#net/codec/nft-event.ts";
import { messagesOf, type NetlinkMessage } from "#net/codec/nlmsg.ts";
import { decodeNsid, encodeNsidAssign, encodeNsidGet } from "#net/codec/nsid.ts";
import { errnoName, errnoOf, systemError } from "./errno.ts";
import { eventOf, type KernelEvent } from "./events.ts";
import * as c from "./libc.ts";
import { NETLINK_NETFILTER, NETLINK_ROUTE, NetlinkSocket } from "./netlink-socket.ts";

// RTNLGRP_* of linux/rtnetlink.h: links, neighbours with forwarding entries, addresses, routes, rules, settings.
const ROUTE_GROUPS = [1, 3, 5, 9, 7, 11, 8, 19, 24, 25];
const NFNLGRP_NFTABLES = 7;
const NETLINK_LISTEN_ALL_NSID = 8;
const SOL_NETLINK = 270;
const SO_ATTACH_FILTER = 26;

// Neighbours that come and go by themselves in containers are most of what the kernel tells, and concern nobody. Passed on
// is what is gone, failed, permanent or a forwarding entry. Classic BPF (linux/filter.h) over struct nlmsghdr and ndmsg:
// [code, jump if true, jump if false, value].
const FILTER: readonly (readonly [number, number, number, number])[] = [
  [0x30, 0, 0, 4], // type
  [0x15, 0, 5, 28], // anything but RTM_NEWNEIGH: accept
  [0x30, 0, 0, 16], // ndm_family
  [0x15, 3, 0, 7], // AF_BRIDGE: accept
  [0x30, 0, 0, 24], // ndm_state
  [0x45, 1, 0, 0xa0], // NUD_PERMANENT or NUD_FAILED: accept
  [0x06, 0, 0, 0],
  [0x06, 0, 0, 0xffff_ffff],
];

const attachFilter = (fd: number): void => {
  const code = Buffer.alloc(FILTER.length * 8);
  FILTER.forEach(([op, yes, no, value], i) => {
    code.writeUInt16LE(op, i * 8);
    code[i * 8 + 2] = yes;
    code[i * 8 + 3] = no;
    code.writeUInt32LE(value, i * 8 + 4);
  });
  const program = Buffer.alloc(16);
  program.writeUInt16LE(FILTER.length, 0);
  program.writeBigUInt64LE(BigInt(koffi.address(code)), 8);
  c.call("filter notifications", c.libc.setsockopt(fd, c.SOL_SOCKET, SO_ATTACH_FILTER, program, program.length));
};

const BUFFER_BYTES = 256 << 10;
/** struct msghdr and what it points to (x86-64 and arm64); re-used, for receiving is synchronous. */
const data = Buffer.alloc(BUFFER_BYTES);
const control = Buffer.alloc(64);
const iov = Buffer.alloc(16);
const header = Buffer.alloc(56);

/** Bytes in `data`, and the number of the namespace they are about (undefined: the socket's own); undefined: nothing there. */
const receive = (fd: number): { bytes: number; nsid: number | undefined } | undefined => {
  iov.writeBigUInt64LE(BigInt(koffi.address(data)), 0);
  iov.writeBigUInt64LE(BigInt(data.length), 8);
  header.fill(0);
  header.writeBigUInt64LE(BigInt(koffi.address(iov)), 16);
  header.writeBigUInt64LE(1n, 24);
  header.writeBigUInt64LE(BigInt(koffi.address(control)), 32);
  header.writeBigUInt64LE(BigInt(control.length), 40);
  const bytes = Number(c.libc.recvmsg(fd, header, c.MSG_DONTWAIT));
  if (bytes < 0) {
    const errno = c.lastErrno();
    if (errnoName(errno) === "EAGAIN") return undefined;
    throw systemError(errno, "receive notifications");
  }
  const carries = Number(header.readBigUInt64LE(40)) >= 20 && control.readInt32LE(8) === SOL_NETLINK;
  return { bytes, nsid: carries ? control.readInt32LE(16) : undefined };
};

export class NamespaceEvents {
  readonly #sockets: readonly NetlinkSocket[];
  /** Of its own: what comes between a request and its answer would be lost. */
  readonly #requests: NetlinkSocket;
  readonly #onEvent: (ns: string, event: KernelEvent) => void;
  readonly #names = new Map<number, string>();
  readonly #numbers = new Map<string, number>();
  #closed = false;

  /**
   * `onEvent` is called with "" for what happens in the namespace of `path` itself, else with the name that it was added by.
   * After an "overrun" (its namespace is "") events were lost, of any of them.
   */
  constructor(path: string | null, onEvent: (ns: string, event: KernelEvent) => void) {
    this.#onEvent = onEvent;
    const route = NetlinkSocket.open(path, NETLINK_ROUTE, ROUTE_GROUPS);
    const nft = NetlinkSocket.open(path, NETLINK_NETFILTER, [NFNLGRP_NFTABLES]);
    this.#sockets = [route, nft];
    this.#requests = NetlinkSocket.open(path);
    attachFilter(route.fd);
    for (const socket of this.#sockets) {
      c.call("listen to all namespaces", c.setOption(socket.fd, SOL_NETLINK, NETLINK_LISTEN_ALL_NSID, 1));
    }
  }

  /** `path`: of its file. Adding it again is cheap when nothing was forgotten. */
  add(ns: string, path: string): void {
    if (this.#numbers.has(ns)) return;
    const fd = c.openFd(path);
    try {
      const number = this.#numberOf(fd) ?? this.#assign(fd);
      this.#numbers.set(ns, number);
      this.#names.set(number, ns);
    } finally {
      c.closeFd(fd);
    }
  }

  forget(ns: string): void {
    const number = this.#numbers.get(ns);
    if (number === undefined) return;
    this.#numbers.delete(ns);
    if (this.#names.get(number) === ns) this.#names.delete(number);
  }

  has(ns: string): boolean {
    return this.#numbers.has(ns);
  }

  names(): Iterable<string> {
    return this.#numbers.keys();
  }

  /** Hands over everything that is there already. */
  drain(): void {
    for (const socket of this.#sockets) this.#drain(socket);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const socket of [...this.#sockets, this.#requests]) socket.close();
  }

  #drain(socket: NetlinkSocket): void {
    while (!this.#closed) {
      let received: ReturnType<typeof receive>;
      try {
        received = receive(socket.fd);
      } catch (error) {
        if (errnoOf(error) !== "ENOBUFS") throw error;
        this.#onEvent("", { topic: "overrun" });
        continue;
      }
      if (received === undefined) return;
      const ns = received.nsid === undefined ? "" : this.#names.get(received.nsid);
      if (ns === undefined) continue;
      // Decoded before the listener runs: it may receive too.
      const events = [...messagesOf(data.subarray(0, received.bytes))].map(decode);
      for (const event of events) if (event !== undefined) this.#onEvent(ns, event);
    }
  }

  #numberOf(fd: number): number | undefined {
    const [reply] = this.#requests.request(encodeNsidGet(fd), "number of a namespace");
    return reply === undefined ? undefined : decodeNsid(reply.payload);
  }

  #assign(fd: number): number {
    this.#requests.request(encodeNsidAssign(fd), "give a namespace a number");
    return this.#numberOf(fd)!;
  }
}

const decode = (m: NetlinkMessage): KernelEvent | undefined => {
  const table = tableOfNftEvent(m);
  return table === undefined ? eventOf(m) : { topic: "nft", table };
};
