// The transport over gRPC: one long-lived stream to each member, and a stream of its own for each snapshot.
import { crc32 } from "node:zlib";
import * as grpc from "@grpc/grpc-js";
import type { Clock } from "#base/clock.ts";
import { TswarmError } from "#base/errors.ts";
import type { Logger } from "#base/log.ts";
import type { Random } from "#base/random.ts";
import type { Message, SnapshotMeta } from "#control-plane/raft/types.ts";
import type { Frame } from "#control-plane/raft-host/frame-codec.ts";
import { encodeMessage } from "#control-plane/raft-host/message-codec.ts";
import type { Peer } from "#control-plane/raft-host/peers.ts";
import {
  REMOVED,
  raftServiceDefinition,
  SNAPSHOT_OFFSET,
  SNAPSHOT_RESUMES,
} from "#control-plane/raft-host/raft-service.ts";
import type {
  ConnectTransport,
  RaftTransport,
  SnapshotPieces,
  TransportHost,
} from "#control-plane/raft-host/transport.ts";
import { SnapshotPart, type SnapshotReceived } from "#proto/gen/raft.ts";

export type GrpcTransportOptions = {
  readonly credentials: grpc.ChannelCredentials;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
};

const CHANNEL: grpc.ChannelOptions = {
  // Notices a cut connection in seconds; TCP alone would go on retrying for minutes and come back as late.
  "grpc.keepalive_time_ms": 1000,
  "grpc.keepalive_timeout_ms": 2000,
  "grpc.initial_reconnect_backoff_ms": 100,
  "grpc.max_reconnect_backoff_ms": 1000,
  "grpc.use_local_subchannel_pool": 1,
};
const BACKOFF_MS = { first: 50, last: 1000 };
/** A connection attempt to a host that was cut off goes on in ever longer steps: a new one is made after this time. */
const CONNECT_MS = 3000;
/** How long a member has to say where a snapshot begins. */
const OFFSET_MS = 3000;
/** Frames waiting for a slow member; beyond this new ones are dropped, raft sends again. */
const MAX_WAITING_FRAMES = 256;
/** gRPC servers take 4 MiB by default; one append with the largest possible proposal still fits. */
const MAX_FRAME_BYTES = 1 << 20;

export const grpcTransport =
  (options: GrpcTransportOptions): ConnectTransport =>
  (host) => {
    const links = new Map<number, PeerLink>();
    const transport: RaftTransport = {
      send: (to, messages) => {
        const link = links.get(to);
        if (link === undefined) host.unreachable(to);
        else link.send(messages);
      },
      sendSnapshot: async (to, term, meta, pieces) => {
        const link = links.get(to);
        if (link === undefined) throw new TswarmError("unavailable", `no address of member ${to} is known`);
        await link.sendSnapshot(term, meta, pieces);
      },
      setPeers: (peers) => {
        for (const [id, link] of links) {
          if (peers.some((p) => p.raftId === id && p.addr === link.peer.addr)) continue;
          link.close();
          links.delete(id);
        }
        for (const peer of peers) {
          if (!links.has(peer.raftId)) links.set(peer.raftId, new PeerLink(peer, host, options));
        }
      },
      arrived: (id) => links.get(id)?.arrived(),
      close: () => {
        for (const link of links.values()) link.close();
        links.clear();
      },
    };
    return transport;
  };

class PeerLink {
  readonly peer: Peer;
  #host: TransportHost;
  #options: GrpcTransportOptions;
  #client: grpc.Client;
  #stream: grpc.ClientDuplexStream<Frame, null> | null = null;
  #waitingFrames = 0;
  #backoffMs = BACKOFF_MS.first;
  #cancelRetry: () => void = () => {};
  #closed = false;

  constructor(peer: Peer, host: TransportHost, options: GrpcTransportOptions) {
    this.peer = peer;
    this.#host = host;
    this.#options = options;
    this.#client = this.#connect();
  }

  #connect(): grpc.Client {
    const client = new grpc.Client(this.peer.addr, this.#options.credentials, CHANNEL);
    client.waitForReady(Date.now() + CONNECT_MS, (error) => {
      if (this.#closed || client !== this.#client) return;
      if (error === undefined) this.#open();
      else this.#reconnect();
    });
    return client;
  }

  arrived(): void {
    if (this.#stream === null) this.#reconnect();
  }

  #reconnect(): void {
    this.#cancelRetry();
    this.#client.close();
    this.#client = this.#connect();
  }

  #open(): void {
    const { path, requestSerialize, responseDeserialize } = raftServiceDefinition.messages;
    const stream = this.#client.makeBidiStreamRequest<Frame, null>(path, requestSerialize, responseDeserialize);
    this.#stream = stream;
    stream.on("data", () => {});
    stream.on("metadata", () => {
      this.#backoffMs = BACKOFF_MS.first;
    });
    stream.on("error", (error: grpc.ServiceError) => this.#broken(stream, error));
    stream.on("end", () => this.#broken(stream, null));
  }

  #broken(stream: grpc.ClientDuplexStream<Frame, null>, error: grpc.ServiceError | null): void {
    if (this.#closed || this.#stream !== stream) return;
    this.#stream = null;
    this.#waitingFrames = 0;
    this.#host.unreachable(this.peer.raftId);
    this.#host.lost(this.peer.raftId);
    this.#options.logger.debug("lost the connection to a manager", { peer: this.peer, error: error?.message });
    if (error?.metadata?.get(REMOVED).length) this.#host.removedByOthers();
    // Jitter, so that all members of a restarted one don't come at the same moment.
    const wait = this.#backoffMs * (0.5 + this.#options.random.float());
    this.#backoffMs = Math.min(this.#backoffMs * 2, BACKOFF_MS.last);
    this.#cancelRetry = this.#options.clock.after(wait, () => this.#reconnect());
  }

  send(messages: readonly Message[]): void {
    const stream = this.#stream;
    if (stream === null || this.#waitingFrames >= MAX_WAITING_FRAMES) {
      this.#host.unreachable(this.peer.raftId);
      return;
    }
    let frame: Buffer[] = [];
    let bytes = 0;
    for (const message of messages) {
      const encoded = encodeMessage(message);
      if (bytes > 0 && bytes + encoded.length > MAX_FRAME_BYTES) {
        this.#write(stream, frame);
        frame = [];
        bytes = 0;
      }
      frame.push(encoded);
      bytes += encoded.length;
    }
    this.#write(stream, frame);
  }

  #write(stream: grpc.ClientDuplexStream<Frame, null>, messages: Buffer[]): void {
    const { clusterId, raftId } = this.#host;
    this.#waitingFrames++;
    stream.write({ clusterId, from: raftId, to: this.peer.raftId, messages }, () => {
      if (this.#stream === stream) this.#waitingFrames--;
    });
  }

  async sendSnapshot(term: number, meta: SnapshotMeta, pieces: SnapshotPieces): Promise<void> {
    const { path, requestSerialize, responseDeserialize } = raftServiceDefinition.snapshot;
    const done = Promise.withResolvers<void>();
    // A failure may come while a piece is being read; it is awaited at the end.
    done.promise.catch(() => {});
    let failed = false;
    const metadata = new grpc.Metadata();
    metadata.set(SNAPSHOT_RESUMES, "1");
    const call = this.#client.makeClientStreamRequest<SnapshotPart, SnapshotReceived>(
      path,
      requestSerialize,
      responseDeserialize,
      metadata,
      (error) => {
        failed = error !== null;
        error === null ? done.resolve() : done.reject(error);
      },
    );
    const offset = new Promise<number>((resolve) => {
      call.on("metadata", (answer: grpc.Metadata) => resolve(Number(answer.get(SNAPSHOT_OFFSET)[0] ?? 0)));
      // An older version says nothing before the end.
      this.#options.clock.after(OFFSET_MS, () => resolve(0));
      done.promise.then(
        () => resolve(0),
        () => resolve(0),
      );
    });
    const write = (part: SnapshotPart["part"]): Promise<void> =>
      new Promise((resolve) => {
        call.write({ part }, () => resolve());
        // A broken call never confirms a write.
        done.promise.then(resolve, () => resolve());
      });
    const { clusterId, raftId } = this.#host;
    const start = { clusterId, from: raftId, to: this.peer.raftId, term, index: meta.index, snapshotTerm: meta.term };
    await write(SnapshotPart.fromPartial({ part: { $case: "start", value: start } }).part);
    try {
      let crc = 0;
      for await (const piece of pieces(await offset)) {
        if (failed) break;
        crc = crc32(piece, crc);
        await write({ $case: "data", value: Buffer.from(piece) });
      }
      call.write({ part: { $case: "end", value: { crc32: crc } } });
      call.end();
    } catch (error) {
      call.cancel();
      throw error;
    }
    await done.promise;
  }

  close(): void {
    this.#closed = true;
    this.#cancelRetry();
    this.#stream?.cancel();
    this.#client.close();
  }
}
