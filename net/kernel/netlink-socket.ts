// A netlink socket. It belongs to the namespace in which it was opened and works from any other, so: one per namespace.
// The kernel does the work inside send(2) and has answered when it returns: receiving never waits.
// Exports: NetlinkSocket.open(netnsPath | null, protocol?), request, dump, batch, exchangeRaw, tryReceive, close; NETLINK_*.
import { TswarmError } from "#base/errors.ts";
import { messagesOf, NLMSG, parseAcknowledgement, ReplyReader, setSequence } from "#net/codec/nlmsg.ts";
import { errnoName, systemError } from "./errno.ts";
import * as c from "./libc.ts";
import { withNetns } from "./netns.ts";

export const NETLINK_ROUTE = 0;
export const NETLINK_NETFILTER = 12;
const SOL_NETLINK = 270;
const NETLINK_ADD_MEMBERSHIP = 1;
const NETLINK_CAP_ACK = 10;
const NETLINK_EXT_ACK = 11;
const NETLINK_GET_STRICT_CHK = 12;
const SO_RCVBUFFORCE = 33;
const SO_SNDBUFFORCE = 32;
const SOCKET_BUFFER_BYTES = 4 << 20;
// An acknowledgement occupies about 1 KiB of the receive buffer, so this many can never overrun it.
const BATCH_MESSAGES = 512;
const DUMP_ATTEMPTS = 8;

export type Reply = { readonly type: number; readonly payload: Uint8Array };

// Synchronous and not re-entrant, so one buffer serves the thread. The kernel cuts dumps to what recv offers, 32 KiB at most.
const receiveBuffer = new Uint8Array(256 << 10);

const sockaddr = (groups: number): Uint8Array => {
  const bytes = new Uint8Array(12);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, c.AF_NETLINK, true);
  view.setUint32(8, groups, true);
  return bytes;
};

export class NetlinkSocket {
  readonly fd: number;
  #sequence = 0;
  #closed = false;

  private constructor(fd: number) {
    this.fd = fd;
  }

  /** Opens in the namespace of `netnsPath`, or in the thread's own. `groups`: RTNLGRP_* numbers to be notified of. */
  static open(
    netnsPath: string | null,
    protocol: number = NETLINK_ROUTE,
    groups: readonly number[] = [],
  ): NetlinkSocket {
    const fd = withNetns(netnsPath, () =>
      c.call(
        "open a netlink socket",
        c.libc.socket(c.AF_NETLINK, c.SOCK_RAW | c.SOCK_CLOEXEC | c.SOCK_NONBLOCK, protocol),
      ),
    );
    try {
      c.call("bind a netlink socket", c.libc.bind(fd, sockaddr(0), 12));
      c.setOption(fd, c.SOL_SOCKET, SO_RCVBUFFORCE, SOCKET_BUFFER_BYTES);
      c.setOption(fd, c.SOL_SOCKET, SO_SNDBUFFORCE, SOCKET_BUFFER_BYTES);
      c.call("NETLINK_EXT_ACK", c.setOption(fd, SOL_NETLINK, NETLINK_EXT_ACK, 1));
      c.call("NETLINK_CAP_ACK", c.setOption(fd, SOL_NETLINK, NETLINK_CAP_ACK, 1));
      if (protocol === NETLINK_ROUTE) c.setOption(fd, SOL_NETLINK, NETLINK_GET_STRICT_CHK, 1);
      for (const group of groups) {
        c.call(`join netlink group ${group}`, c.setOption(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, group));
      }
      return new NetlinkSocket(fd);
    } catch (error) {
      c.closeFd(fd);
      throw error;
    }
  }

  /** Sends one message and returns what came before its acknowledgement. `what` names the operation in the error. */
  request(bytes: Uint8Array, what: string): Reply[] {
    const reader = this.#exchange(bytes, what);
    const ack = reader.acknowledgement!;
    if (ack.errno !== 0) throw systemError(ack.errno, what, ack.text);
    return reader.messages;
  }

  /** A whole dump; repeated when the table changed meanwhile. */
  dump(bytes: Uint8Array, what: string): Reply[] {
    for (let attempt = 0; attempt < DUMP_ATTEMPTS; attempt++) {
      const reader = this.#exchange(bytes, what);
      const ack = reader.acknowledgement!;
      if (ack.errno !== 0) throw systemError(ack.errno, what, ack.text);
      if (!reader.interrupted) return reader.messages;
    }
    throw new TswarmError("unavailable", `${what}: the table changed during ${DUMP_ATTEMPTS} dumps`);
  }

  /** Many messages in few sends; not atomic. Result i belongs to message i: null, or why it failed. */
  batch(messages: readonly Uint8Array[], what: (index: number) => string): (TswarmError | null)[] {
    const results: (TswarmError | null)[] = [];
    for (let from = 0; from < messages.length; from += BATCH_MESSAGES) {
      const chunk = messages.slice(from, from + BATCH_MESSAGES);
      const first = this.#sequence + 1;
      for (const m of chunk) setSequence(m, ++this.#sequence);
      this.#send(Buffer.concat(chunk), what(from));
      const errors = new Map<number, TswarmError | null>();
      while (errors.size < chunk.length) {
        for (const m of messagesOf(this.#receive(what(from)))) {
          if (m.type !== NLMSG.ERROR || m.sequence < first) continue;
          const ack = parseAcknowledgement(m);
          const index = m.sequence - first;
          errors.set(m.sequence, ack.errno === 0 ? null : systemError(ack.errno, what(from + index), ack.text));
        }
      }
      for (let i = 0; i < chunk.length; i++) results.push(errors.get(first + i) ?? null);
    }
    return results;
  }

  /** Sends a prepared datagram (an nfnetlink transaction, say) and hands over every datagram that is there already. */
  exchangeRaw(bytes: Uint8Array, what: string, each: (datagram: Uint8Array) => void): void {
    this.#send(bytes, what);
    for (let d = this.tryReceive(what); d !== undefined; d = this.tryReceive(what)) each(d);
  }

  nextSequence(): number {
    return ++this.#sequence;
  }

  /** A view that the next receive overwrites; undefined when nothing is there. Throws `ENOBUFS` on overrun. */
  tryReceive(what: string): Uint8Array | undefined {
    const n = Number(c.libc.recv(this.fd, receiveBuffer, receiveBuffer.length, c.MSG_DONTWAIT | c.MSG_TRUNC));
    if (n < 0) {
      const errno = c.lastErrno();
      if (errnoName(errno) === "EAGAIN") return undefined;
      throw systemError(errno, what);
    }
    if (n > receiveBuffer.length) throw new TswarmError("internal", `${what}: netlink answer of ${n} bytes was cut`);
    return receiveBuffer.subarray(0, n);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    c.closeFd(this.fd);
  }

  #exchange(bytes: Uint8Array, what: string): ReplyReader {
    const sequence = this.nextSequence();
    setSequence(bytes, sequence);
    this.#send(bytes, what);
    const reader = new ReplyReader(sequence);
    while (!reader.push(this.#receive(what)));
    return reader;
  }

  #send(bytes: Uint8Array, what: string): void {
    if (this.#closed) throw new TswarmError("internal", `${what}: the netlink socket is closed`);
    c.call(what, Number(c.libc.send(this.fd, bytes, bytes.length, 0)));
  }

  #receive(what: string): Uint8Array {
    const datagram = this.tryReceive(what);
    if (datagram === undefined) throw new TswarmError("internal", `${what}: the kernel gave no answer`);
    return datagram;
  }
}
