// grpc-js without sockets: the product's own client and server (proto/rpc) on two stream ends with a simulated connection
// between them, which can be slow, cut, or broken with calls in flight.
import { Duplex } from "node:stream";
import { type Client, Metadata, type Server, type ServiceError, status as Status } from "@grpc/grpc-js";
import type { Random } from "#base/random.ts";
import type { Peer } from "#proto/rpc/server.ts";
import type { Direction, Links } from "#test-cluster/control-sim/links.ts";
import type { Actor, VirtualTime } from "#test-cluster/sim/virtual-time.ts";

type Trailer = { readonly code: number; readonly details: string; readonly metadata: Metadata };
type Implementation = (call: ServerEnd) => void;

/** What listens on an address. */
export type Listener = { readonly host: string; readonly actor: Actor; readonly methods: Map<string, Implementation> };

/** For `addService`. */
export const collectMethods = (methods: Map<string, Implementation>): Server =>
  ({
    addService: (service: Record<string, { path: string }>, implementation: Record<string, Implementation>) => {
      for (const [name, { path }] of Object.entries(service)) methods.set(path, implementation[name]!);
    },
  }) as unknown as Server;

export type Caller = { readonly host: string; readonly actor: Actor; readonly peer: Peer | undefined };

export type NetOptions = {
  readonly time: VirtualTime;
  readonly links: Links;
  readonly random: Random;
  /** Whether this message of a server gets lost, as in a proxy that is broken. */
  readonly loses: (path: string, bytes: Buffer) => boolean;
  /** Sees each message that a server sends. */
  readonly onServerMessage: (path: string, call: ServerEnd, bytes: Buffer) => void;
};

const OK: Trailer = { code: Status.OK, details: "", metadata: new Metadata() };
const unavailable = (details: string): Trailer => ({ code: Status.UNAVAILABLE, details, metadata: new Metadata() });

export class SimNet {
  readonly listeners = new Map<string, Listener>();
  readonly calls = new Set<Call>();
  readonly options: NetOptions;

  constructor(options: NetOptions) {
    this.options = options;
  }

  /** A channel of the caller's; it connects with each call. */
  dial(caller: Caller, address: string, keepaliveMs = 0): Client {
    const bidi = (
      path: string,
      serialize: (message: unknown) => Buffer,
      deserialize: (bytes: Buffer) => unknown,
      metadata: Metadata = new Metadata(),
    ): ClientEnd => new Call(this, caller, address, path, metadata, serialize, deserialize, keepaliveMs).client;
    const channel = {
      address,
      makeBidiStreamRequest: bidi,
      makeServerStreamRequest: (
        path: string,
        serialize: (message: unknown) => Buffer,
        deserialize: (bytes: Buffer) => unknown,
        request: unknown,
        metadata: Metadata,
      ) => {
        const end = bidi(path, serialize, deserialize, metadata);
        end.end(request);
        return end;
      },
      makeUnaryRequest: (
        path: string,
        serialize: (message: unknown) => Buffer,
        deserialize: (bytes: Buffer) => unknown,
        request: unknown,
        metadata: Metadata,
        _options: unknown,
        done: (error: ServiceError | null, value?: unknown) => void,
      ) => {
        const end = bidi(path, serialize, deserialize, metadata);
        let answer: unknown;
        end.on("data", (message) => {
          answer = message;
        });
        end.on("error", (error) => done(error as ServiceError));
        end.on("end", () => {
          if (!end.failed) done(null, answer);
        });
        end.end(request);
        return end;
      },
      close: () => {},
    };
    return channel as unknown as Client;
  }

  /** Whether the other end of the channel answers within `ms`. */
  connected(caller: Caller, channel: Client, ms: number): Promise<boolean> {
    const { time, links } = this.options;
    const { address } = channel as unknown as { address: string };
    return new Promise((resolve) => {
      time.after(ms, caller.actor, () => resolve(false));
      const listener = this.listeners.get(address);
      if (listener === undefined) return;
      const there = links.direction(caller.host, listener.host, listener.actor);
      const back = links.direction(listener.host, caller.host, caller.actor);
      there.send(() => {
        there.close();
        back.send(() => {
          back.close();
          resolve(true);
        });
      });
    });
  }

  /** The process has died: whoever was connected hears it as soon as packets pass. */
  died(actor: Actor): void {
    for (const [address, listener] of this.listeners) if (listener.actor === actor) this.listeners.delete(address);
    for (const call of [...this.calls]) call.died(actor);
  }

  /** Some connections are reset, by a middlebox say. */
  reset(chosen: (call: Call) => boolean): void {
    for (const call of [...this.calls]) if (chosen(call)) call.reset();
  }
}

export class Call {
  readonly client: ClientEnd;
  readonly path: string;
  readonly caller: Caller;
  readonly listener: Listener | undefined;
  server: ServerEnd | undefined;
  #net: SimNet;
  #up: Direction | undefined;
  #down: Direction | undefined;
  #over = false;

  constructor(
    net: SimNet,
    caller: Caller,
    address: string,
    path: string,
    metadata: Metadata,
    serialize: (message: unknown) => Buffer,
    deserialize: (bytes: Buffer) => unknown,
    keepaliveMs: number,
  ) {
    this.#net = net;
    this.path = path;
    this.caller = caller;
    const { time, links } = net.options;
    const listener = net.listeners.get(address);
    this.listener = listener;
    this.client = new ClientEnd(this, serialize, deserialize);
    if (listener === undefined) {
      // Nobody listens there: refused, or no answer at all when the host is down.
      const host = address.replace(/:.*$/, "");
      const back = links.direction(host, caller.host, caller.actor);
      back.send(() => {
        back.close();
        this.client.over(unavailable(`${address}: connection refused`));
      });
      return;
    }
    net.calls.add(this);
    this.#up = links.direction(caller.host, listener.host, listener.actor);
    this.#down = links.direction(listener.host, caller.host, caller.actor);
    this.#up.send(() => {
      if (this.#over || listener.actor.dead) return;
      const implementation = listener.methods.get(path);
      if (implementation === undefined) throw new Error(`nobody serves ${path}`);
      this.server = new ServerEnd(this, caller, metadata);
      implementation(this.server);
    });
    if (keepaliveMs > 0) this.#keepAlive(keepaliveMs, time, links, listener.host);
  }

  #keepAlive(ms: number, time: VirtualTime, links: Links, host: string): void {
    let missed = 0;
    const look = () => {
      if (this.#over) return;
      missed = links.passes(this.caller.host, host) && links.passes(host, this.caller.host) ? 0 : missed + 1;
      if (missed > 1) this.brokenAtClient("keepalive: no answer");
      else time.after(ms, this.caller.actor, look);
    };
    time.after(ms, this.caller.actor, look);
  }

  up(what: (server: ServerEnd) => void): void {
    if (!this.#over) this.#up?.send(() => this.server && what(this.server));
  }

  down(what: (client: ClientEnd) => void): void {
    this.#down?.send(() => what(this.client));
  }

  sent(bytes: Buffer): void {
    const { onServerMessage, loses } = this.#net.options;
    onServerMessage(this.path, this.server!, bytes);
    if (!loses(this.path, bytes)) this.down((client) => client.arrives(bytes));
  }

  /** No more is sent in either direction, but what is on its way arrives. */
  #end(): boolean {
    if (this.#over) return false;
    this.#over = true;
    this.#net.calls.delete(this);
    this.#up?.close();
    return true;
  }

  finished(trailer: Trailer): void {
    if (!this.#end()) return;
    this.down((client) => {
      this.#down?.close();
      client.over(trailer);
    });
  }

  cancelledByClient(): void {
    if (this.#over) return;
    this.#over = true;
    this.#net.calls.delete(this);
    this.#down?.close();
    this.#up?.send(() => {
      this.#up?.close();
      this.server?.cancel();
    });
  }

  brokenAtClient(why: string): void {
    this.client.over(unavailable(why));
    this.cancelledByClient();
  }

  died(actor: Actor): void {
    if (actor === this.listener?.actor) this.finished(unavailable("connection reset"));
    if (actor === this.caller.actor) this.cancelledByClient();
  }

  reset(): void {
    const { time } = this.#net.options;
    if (this.#over) return;
    time.after(0, this.caller.actor, () => this.client.over(unavailable("connection reset")));
    this.cancelledByClient();
  }
}

export class ClientEnd extends Duplex {
  failed = false;
  #call: Call;
  #serialize: (message: unknown) => Buffer;
  #deserialize: (bytes: Buffer) => unknown;
  #isOver = false;

  constructor(call: Call, serialize: (message: unknown) => Buffer, deserialize: (bytes: Buffer) => unknown) {
    super({ objectMode: true, autoDestroy: false });
    this.#call = call;
    this.#serialize = serialize;
    this.#deserialize = deserialize;
  }

  override _read(): void {}

  override _write(message: unknown, _encoding: string, done: () => void): void {
    const bytes = this.#serialize(message);
    this.#call.up((server) => server.arrives(bytes));
    done();
  }

  override _final(done: () => void): void {
    this.#call.up((server) => server.halfClosed());
    done();
  }

  cancel(): void {
    if (this.#isOver) return;
    this.#call.cancelledByClient();
    const trailer = { code: Status.CANCELLED, details: "cancelled on client", metadata: new Metadata() };
    // As grpc-js: not within the call that cancels.
    process.nextTick(() => this.over(trailer));
  }

  arrives(bytes: Buffer): void {
    if (!this.#isOver) this.push(this.#deserialize(bytes));
  }

  over(trailer: Trailer): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.failed = trailer.code !== Status.OK;
    this.push(null);
    // As grpc-js: at once, before the end that was just pushed is read.
    if (this.failed) {
      // Nobody may be reading.
      this.on("error", () => {});
      this.emit("error", Object.assign(new Error(trailer.details), trailer));
    }
    this.emit("status", trailer);
  }
}

export class ServerEnd extends Duplex {
  readonly metadata: Metadata;
  readonly caller: Caller;
  readonly listener: Listener;
  #call: Call;
  #trailer: Trailer = OK;

  constructor(call: Call, caller: Caller, metadata: Metadata) {
    super({ objectMode: true, autoDestroy: false });
    this.#call = call;
    this.caller = caller;
    this.listener = call.listener!;
    this.metadata = metadata;
    this.on("error", (error: Partial<Trailer>) => {
      const { code = Status.UNKNOWN, details = "", metadata: trailing = new Metadata() } = error;
      this.#trailer = { code, details, metadata: trailing };
      this.end();
    });
  }

  override _read(): void {}

  override _write(bytes: Buffer, _encoding: string, done: () => void): void {
    this.#call.sent(bytes);
    done();
  }

  override _final(done: () => void): void {
    this.#call.finished(this.#trailer);
    done();
  }

  getPeer(): string {
    return this.caller.host;
  }

  getAuthContext(): object {
    const { peer } = this.caller;
    if (peer === undefined) return {};
    const subject = { CN: peer.nodeId, O: peer.clusterId, OU: `tswarm-${peer.role}` };
    return { sslPeerCertificate: { subject } };
  }

  arrives(bytes: Buffer): void {
    if (!this.destroyed) this.push(bytes);
  }

  halfClosed(): void {
    if (!this.destroyed) this.push(null);
  }

  cancel(): void {
    this.emit("cancelled", "cancelled");
    this.destroy();
  }
}
