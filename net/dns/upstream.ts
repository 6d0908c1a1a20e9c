// One upstream resolver, asked by UDP, and by TCP when the answer does not fit. A connected socket takes answers from that
// resolver only; ids and source ports are random.
import { randomInt } from "node:crypto";
import type { Socket } from "node:dgram";
import type { Clock } from "#base/clock.ts";
import type { Outlet } from "./outlet.ts";
import type { Upstream } from "./resolv-conf.ts";
import { messageId, questionOf, sameQuestion } from "./wire.ts";

// Several sockets, so that a forged answer has to guess the source port too.
const SOCKETS = 8;

type Pending = { readonly question: Uint8Array; readonly settle: (answer: Buffer | undefined) => void };
type Port = {
  readonly socket: Socket;
  readonly pending: Map<number, Pending>;
  readonly ready: PromiseWithResolvers<void>;
};

export class UpstreamServer {
  readonly #upstream: Upstream;
  readonly #clock: Clock;
  readonly #outlet: Outlet;
  readonly #ports: (Port | undefined)[] = new Array(SOCKETS).fill(undefined);
  #closed = false;

  constructor(upstream: Upstream, clock: Clock, outlet: Outlet) {
    this.#upstream = upstream;
    this.#clock = clock;
    this.#outlet = outlet;
  }

  /** The answer's bytes, or undefined: no answer within `timeoutMs`, or the resolver is not reachable. */
  askUdp(build: (id: number) => Buffer, timeoutMs: number): Promise<Buffer | undefined> {
    if (this.#closed) return Promise.resolve(undefined);
    const port = this.#port(randomInt(SOCKETS));
    if (port === undefined) return Promise.resolve(undefined);
    let id = randomInt(65536);
    while (port.pending.has(id)) id = (id + 1) & 0xffff;
    const bytes = build(id);
    return new Promise((resolve) => {
      const settle = (answer: Buffer | undefined) => {
        cancel();
        port.pending.delete(id);
        resolve(answer);
      };
      const cancel = this.#clock.after(timeoutMs, () => settle(undefined));
      port.pending.set(id, { question: questionOf(bytes)!, settle });
      void port.ready.promise.then(() => {
        if (!this.#closed) port.socket.send(bytes, (error) => error && settle(undefined));
      });
    });
  }

  askTcp(build: (id: number) => Buffer, timeoutMs: number): Promise<Buffer | undefined> {
    const id = randomInt(65536);
    const bytes = build(id);
    const asked = questionOf(bytes)!;
    return new Promise((resolve) => {
      const socket = this.#outlet.tcp(this.#upstream);
      if (socket === undefined) return resolve(undefined);
      const settle = (answer: Buffer | undefined) => {
        cancel();
        socket.destroy();
        resolve(answer);
      };
      const cancel = this.#clock.after(timeoutMs, () => settle(undefined));
      let received = Buffer.alloc(0);
      socket.on("connect", () => socket.write(framed(bytes)));
      socket.on("data", (chunk) => {
        received = Buffer.concat([received, chunk]);
        if (received.length < 2 || received.length < 2 + received.readUInt16BE(0)) return;
        const answer = received.subarray(2, 2 + received.readUInt16BE(0));
        settle(isAnswer(answer, id, asked) ? answer : undefined);
      });
      socket.on("error", () => settle(undefined));
      socket.on("close", () => settle(undefined));
    });
  }

  close(): void {
    this.#closed = true;
    for (const port of this.#ports) {
      port?.socket.close();
      for (const p of [...(port?.pending.values() ?? [])]) p.settle(undefined);
    }
  }

  #port(index: number): Port | undefined {
    const present = this.#ports[index];
    if (present !== undefined) return present;
    const socket = this.#outlet.udp(this.#upstream);
    if (socket === undefined) return undefined;
    const opened: Port = {
      socket,
      pending: new Map(),
      ready: Promise.withResolvers(),
    };
    opened.socket.on("message", (message: Buffer) => {
      if (message.length < 12) return;
      const pending = opened.pending.get(messageId(message));
      if (pending && isAnswer(message, messageId(message), pending.question)) pending.settle(message);
    });
    let connected = false;
    // A resolver that is not there answers with ICMP: fail its questions at once instead of waiting. Without a route to it
    // not even the socket comes about; the next question tries again.
    opened.socket.on("error", () => {
      for (const p of [...opened.pending.values()]) p.settle(undefined);
      if (connected || this.#ports[index] !== opened) return;
      this.#ports[index] = undefined;
      opened.socket.close();
    });
    opened.socket.on("connect", () => {
      connected = true;
      opened.ready.resolve();
    });
    opened.socket.connect(this.#upstream.port, this.#upstream.address);
    opened.socket.unref();
    this.#ports[index] = opened;
    return opened;
  }
}

/** TCP framing: two bytes of length first (RFC 1035 §4.2.2). */
export const framed = (message: Uint8Array): Buffer => {
  const length = Buffer.alloc(2);
  length.writeUInt16BE(message.length);
  return Buffer.concat([length, message]);
};

const isAnswer = (message: Uint8Array, id: number, asked: Uint8Array): boolean => {
  if (message.length < 12 || messageId(message) !== id || (message[2]! & 0x80) === 0) return false;
  const question = questionOf(message);
  return question !== undefined && sameQuestion(question, asked);
};
