// The DNS server of one container namespace: UDP and TCP on sockets that were opened there (see net/kernel/sockets.ts) and
// are given as descriptors, which this owns from then on. Everything else lives in the agent.
import { createSocket, type RemoteInfo, type Socket } from "node:dgram";
import { createServer, type Server, type Socket as TcpSocket } from "node:net";
import type { Random } from "#base/random.ts";
import type { DnsZone } from "#net/model/dns.ts";
import type { Forwarder } from "./forwarder.ts";
import { parseQuery, RCODE, response } from "./packet.ts";
import { framed } from "./upstream.ts";
import { truncated } from "./wire.ts";
import { indexZone, resolve, type ZoneIndex } from "./zone.ts";

const TCP_BYTES = 65_535;
const TCP_IDLE_MS = 10_000;
const TCP_CONNECTIONS = 64;
const TCP_QUERIES_IN_FLIGHT = 32;

export type DnsServerOptions = {
  readonly udpFd: number;
  readonly tcpFd: number;
  readonly zone: DnsZone;
  readonly forwarder: Forwarder;
  readonly random: Random;
};

/** Containers on the same networks share one zone object: it is indexed once, when the first of them is asked. */
const indexes = new WeakMap<DnsZone, ZoneIndex>();
const indexOf = (zone: DnsZone): ZoneIndex => {
  let index = indexes.get(zone);
  if (index === undefined) indexes.set(zone, (index = indexZone(zone)));
  return index;
};

export class DnsServer {
  readonly #forwarder: Forwarder;
  readonly #random: Random;
  readonly #udp: Socket;
  readonly #tcp: Server;
  readonly #connections = new Set<TcpSocket>();
  #zone: DnsZone;
  #closed = false;

  private constructor(options: DnsServerOptions) {
    this.#forwarder = options.forwarder;
    this.#random = options.random;
    this.#zone = options.zone;
    this.#udp = createSocket("udp4");
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
  update(zone: DnsZone): void {
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
      if (!this.#closed) this.#udp.send(answer.length > limit ? truncated(answer) : answer, from.port, from.address);
    });
  }

  #serveTcp(socket: TcpSocket): void {
    this.#connections.add(socket);
    let received: Buffer = Buffer.alloc(0);
    let inFlight = 0;
    const serve = () => {
      while (inFlight < TCP_QUERIES_IN_FLIGHT && received.length >= 2) {
        const end = 2 + received.readUInt16BE(0);
        if (received.length < end) break;
        const message = received.subarray(2, end);
        received = received.subarray(end);
        inFlight++;
        const known = this.#answer(message, (answer) => {
          inFlight--;
          if (socket.writable) socket.write(framed(answer.length > TCP_BYTES ? truncated(answer) : answer));
          serve();
        });
        if (!known) socket.destroy();
      }
      if (inFlight >= TCP_QUERIES_IN_FLIGHT) socket.pause();
      else socket.resume();
    };
    socket.setTimeout(TCP_IDLE_MS, () => socket.destroy());
    socket.on("data", (chunk) => {
      received = received.length === 0 ? chunk : Buffer.concat([received, chunk]);
      serve();
    });
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
    const verdict = resolve(indexOf(this.#zone), query.name, query.type, this.#random);
    if (verdict.kind === "forward") {
      void this.#forwarder.ask(query).then((answer) => reply(answer, query.udpBytes));
      return true;
    }
    const records = verdict.kind === "records" ? verdict.records : [];
    const rcode = verdict.kind === "nxdomain" ? RCODE.NXDOMAIN : RCODE.NOERROR;
    reply(response(query, rcode, records), query.udpBytes);
    return true;
  }
}
