// The DNS server of one container namespace: UDP and TCP on sockets that were opened there (see net/kernel/sockets.ts) and
// are given as descriptors, which this owns from then on. Everything else lives in the agent.
import { createSocket, type RemoteInfo, type Socket } from "node:dgram";
import { createServer, type Server, type Socket as TcpSocket } from "node:net";
import type { Random } from "#base/random.ts";
import type { Forwarder } from "./forwarder.ts";
import { parseQuery, type Query, RCODE, response } from "./packet.ts";
import { framed } from "./upstream.ts";
import { fitted } from "./wire.ts";
import { resolve, type Zone } from "./zone.ts";

const TCP_BYTES = 65_535;
const TCP_IDLE_MS = 10_000;
const TCP_CONNECTIONS = 64;
const TCP_QUERIES_IN_FLIGHT = 32;
/** A quarter of what the shared forwarder has in flight: no container shuts out the others. */
export const MAX_FORWARDED = 256;

/** How names are found that are none of ours. */
export type Outside = {
  readonly forwarder: Forwarder;
  /** Also when every network is internal: the container was given resolvers of its own. */
  readonly always: boolean;
  /** Also names without a dot. Not with `ndots`: the asker then comes again with its search domains. */
  readonly singleLabels: boolean;
};

export type DnsServerOptions = {
  readonly udpFd: number;
  readonly tcpFd: number;
  readonly zone: Zone;
  readonly outside: Outside;
  readonly random: Random;
};

export class DnsServer {
  readonly #outside: Outside;
  readonly #random: Random;
  readonly #udp: Socket;
  readonly #tcp: Server;
  readonly #connections = new Set<TcpSocket>();
  #zone: Zone;
  #forwarded = 0;
  #closed = false;

  private constructor(options: DnsServerOptions) {
    this.#outside = options.outside;
    this.#random = options.random;
    this.#zone = options.zone;
    // Answers go to addresses: Node's own way to look one up costs a turn of the event loop for each.
    this.#udp = createSocket({ type: "udp4", lookup: (address, _, found) => found(null, address, 4) });
    this.#tcp = createServer((socket) => this.#serveTcp(socket));
    this.#tcp.maxConnections = TCP_CONNECTIONS;
  }

  /** Resolves when both sockets are served. */
  static async start(options: DnsServerOptions): Promise<DnsServer> {
    const server = new DnsServer(options);
    server.#udp.on("message", (message: Buffer, from) => server.#serveUdp(message, from));
    await Promise.all([
      new Promise<void>((done, fail) => {
        server.#udp.once("error", fail).bind({ fd: options.udpFd }, () => done());
      }),
      new Promise<void>((done, fail) => {
        server.#tcp.once("error", fail).listen({ fd: options.tcpFd }, () => done());
      }),
    ]);
    // The namespace may vanish under the sockets; the container's end is noticed elsewhere.
    server.#udp.removeAllListeners("error").on("error", () => {});
    server.#tcp.removeAllListeners("error").on("error", () => {});
    return server;
  }

  /** From the next question on, answers come from `zone`. */
  update(zone: Zone): void {
    this.#zone = zone;
  }

  /** Resolves when both sockets are closed; questions still in flight are dropped. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    for (const socket of this.#connections) socket.destroy();
    await Promise.all([
      new Promise<void>((done) => this.#udp.close(() => done())),
      new Promise<void>((done) => this.#tcp.close(() => done())),
    ]);
  }

  #serveUdp(message: Buffer, from: RemoteInfo): void {
    // A raw socket in the container can say so; nobody can be answered there, and Node would throw.
    if (from.port === 0) return;
    this.#answer(message, (answer, limit) => {
      if (!this.#closed) this.#udp.send(fitted(answer, limit), from.port, from.address);
    });
  }

  #serveTcp(socket: TcpSocket): void {
    this.#connections.add(socket);
    let received: Buffer = Buffer.alloc(0);
    let inFlight = 0;
    // Who does not read its answers gets no more of them.
    const isFull = () => inFlight >= TCP_QUERIES_IN_FLIGHT || socket.writableNeedDrain;
    const serve = () => {
      while (!isFull() && received.length >= 2) {
        const end = 2 + received.readUInt16BE(0);
        if (received.length < end) break;
        const message = received.subarray(2, end);
        received = received.subarray(end);
        inFlight++;
        let later = false;
        const known = this.#answer(message, (answer) => {
          inFlight--;
          if (socket.writable) socket.write(framed(fitted(answer, TCP_BYTES)));
          if (later) serve();
        });
        later = true;
        if (!known) socket.destroy();
      }
      if (isFull()) socket.pause();
      else socket.resume();
    };
    socket.setTimeout(TCP_IDLE_MS, () => socket.destroy());
    socket.on("data", (chunk) => {
      received = received.length === 0 ? chunk : Buffer.concat([received, chunk]);
      serve();
    });
    socket.on("drain", serve);
    socket.on("error", () => socket.destroy());
    socket.on("close", () => this.#connections.delete(socket));
  }

  /** Calls `reply` at once for own names, later for forwarded ones. False: this was no question, nothing will come. */
  #answer(message: Buffer, reply: (answer: Buffer, udpLimit: number) => void): boolean {
    const parsed = parseQuery(message);
    if (parsed.kind === "ignore") return false;
    if (parsed.kind === "refuse") {
      reply(parsed.response, parsed.response.length);
      return true;
    }
    const { query } = parsed;
    const verdict = resolve(this.#zone, query.name, query.type, this.#random);
    if (verdict.kind === "unknown" && this.#isForwarded(query)) {
      this.#forward(query, (answer) => reply(answer, query.udpBytes));
      return true;
    }
    const rcode = verdict.kind === "nxdomain" || verdict.kind === "unknown" ? RCODE.NXDOMAIN : RCODE.NOERROR;
    const records = verdict.kind === "records" ? verdict : {};
    reply(response(query, rcode, { ...records, own: true }), query.udpBytes);
    return true;
  }

  #isForwarded({ name }: Query): boolean {
    const { always, singleLabels } = this.#outside;
    return (
      (always || this.#zone.networks.some((n) => !n.internal)) && (singleLabels || name === "" || name.includes("."))
    );
  }

  #forward(query: Query, reply: (answer: Buffer) => void): void {
    if (this.#forwarded >= MAX_FORWARDED) {
      reply(response(query, RCODE.SERVFAIL));
      return;
    }
    this.#forwarded++;
    void this.#outside.forwarder.ask(query).then((answer) => {
      this.#forwarded--;
      reply(answer);
    });
  }
}
