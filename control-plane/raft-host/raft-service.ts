// The server side of service Raft. Raw definitions: the streams carry many small frames, and Snapshot needs backpressure.
import { crc32 } from "node:zlib";
import * as grpc from "@grpc/grpc-js";
import { TswarmError } from "#base/errors.ts";
import { decodeFrame, encodeFrame, type Frame } from "#control-plane/raft-host/frame-codec.ts";
import { decodeMessage, isKnownKind } from "#control-plane/raft-host/message-codec.ts";
import type { TransportHost } from "#control-plane/raft-host/transport.ts";
import { JoinRaftRequest, JoinRaftResponse, SnapshotPart, SnapshotReceived } from "#proto/gen/raft.ts";
import { toServiceError } from "#proto/rpc/status.ts";

type Wire<T> = { encode(m: T): { finish(): Uint8Array }; decode(bytes: Uint8Array): T };

const method = <Q, S>(name: string, request: Wire<Q>, response: Wire<S>, streams: readonly [boolean, boolean]) => ({
  path: `/tswarm.v1.Raft/${name}`,
  requestStream: streams[0],
  responseStream: streams[1],
  requestSerialize: (m: Q) => Buffer.from(request.encode(m).finish()),
  requestDeserialize: (bytes: Buffer) => request.decode(bytes),
  responseSerialize: (m: S) => Buffer.from(response.encode(m).finish()),
  responseDeserialize: (bytes: Buffer) => response.decode(bytes),
});

const NOTHING = Buffer.alloc(0);

export const raftServiceDefinition = {
  messages: {
    path: "/tswarm.v1.Raft/Messages",
    requestStream: true,
    responseStream: true,
    requestSerialize: encodeFrame,
    requestDeserialize: decodeFrame,
    // RaftFrameAck has no fields.
    responseSerialize: (_: null) => NOTHING,
    responseDeserialize: (_: Buffer) => null,
  },
  snapshot: method("Snapshot", SnapshotPart, SnapshotReceived, [true, false]),
  join: method("Join", JoinRaftRequest, JoinRaftResponse, [false, false]),
} as const;

/** Metadata key beside PERMISSION_DENIED: the caller was removed from the cluster. */
export const REMOVED = "tswarm-removed";

/** Metadata of Snapshot: the sender can begin in the middle, and the answer says where. Older versions know neither. */
export const SNAPSHOT_RESUMES = "tswarm-snapshot-resumes";
export const SNAPSHOT_OFFSET = "tswarm-snapshot-offset";

export type AnyCall = { getPeer(): string; metadata: grpc.Metadata };

/**
 * Handlers for `server.addService(raftServiceDefinition, …)`. `authorize` throws TswarmError for a caller that is no
 * manager (Messages, Snapshot) or may not become the member `joining` (Join).
 */
export const raftServiceHandlers = (
  host: TransportHost,
  authorize: (call: AnyCall, method: "messages" | "snapshot" | "join", joining?: string) => void,
): grpc.UntypedServiceImplementation => {
  const checkCluster = (clusterId: string): void => {
    if (clusterId !== host.clusterId) throw new TswarmError("forbidden", "the sender belongs to another cluster");
  };
  const checkAddressed = (to: number): void => {
    if (to !== host.raftId) throw new TswarmError("forbidden", `this is member ${host.raftId}, not ${to}`);
  };
  const removedStatus = (): grpc.StatusObject => {
    const metadata = new grpc.Metadata();
    metadata.set(REMOVED, "1");
    return { code: grpc.status.PERMISSION_DENIED, details: "this manager was removed from the cluster", metadata };
  };

  /** The newest stream of each member. */
  const streams = new Map<number, unknown>();

  const messages = (call: grpc.ServerDuplexStream<Frame, null>): void => {
    const refuse = (error: unknown) => call.emit("error", toServiceError(error));
    let from = 0;
    const ended = () => {
      if (streams.get(from) !== call) return;
      streams.delete(from);
      host.lost(from);
    };
    call.on("error", ended);
    call.on("cancelled", ended);
    try {
      authorize(call, "messages");
    } catch (error) {
      refuse(error);
      return;
    }
    call.on("data", (frame: Frame) => {
      try {
        checkCluster(frame.clusterId);
        // Before it is looked at whom it means: after a recovery this member has another id than a removed one knows.
        if (host.isRemoved(frame.from)) {
          call.emit("error", removedStatus());
          return;
        }
        checkAddressed(frame.to);
        if (from === 0) {
          from = frame.from;
          streams.set(from, call);
          // The sender learns that it was let in.
          call.sendMetadata(new grpc.Metadata());
          host.arrived(from);
        }
        const known = frame.messages.filter(isKnownKind).map(decodeMessage);
        host.receive(known.filter((m) => m.from === frame.from));
      } catch (error) {
        refuse(error);
      }
    });
    call.on("end", () => {
      ended();
      call.end();
    });
  };

  const snapshot = (
    call: grpc.ServerReadableStream<SnapshotPart, SnapshotReceived>,
    answer: grpc.sendUnaryData<SnapshotReceived>,
  ): void => {
    const receive = async () => {
      authorize(call, "snapshot");
      const parts = call[Symbol.asyncIterator]() as AsyncIterator<SnapshotPart>;
      const first = (await parts.next()).value?.part as SnapshotPart["part"];
      if (first?.$case !== "start") throw new TswarmError("invalid", "a snapshot begins with its start");
      const { clusterId, from, to, term, index, snapshotTerm } = first.value;
      checkCluster(clusterId);
      checkAddressed(to);
      const resumes = call.metadata.get(SNAPSHOT_RESUMES).length > 0;
      const receipt = host.beginSnapshot({ from, index, term: snapshotTerm }, resumes);
      const metadata = new grpc.Metadata();
      metadata.set(SNAPSHOT_OFFSET, String(receipt.offset));
      call.sendMetadata(metadata);
      await receipt.receive(term, dataOf(parts));
    };
    receive().then(
      () => answer(null, {}),
      (error) => answer(toServiceError(error)),
    );
  };

  const join: grpc.handleUnaryCall<JoinRaftRequest, JoinRaftResponse> = (call, answer) => {
    const run = async () => {
      const { nodeId, addr } = call.request;
      authorize(call, "join", nodeId);
      const raftId = await host.addMember(nodeId, addr);
      return { raftId, clusterId: host.clusterId, peers: host.peers().map((p) => ({ ...p })) };
    };
    run().then(
      (response) => answer(null, response),
      (error) => answer(toServiceError(error)),
    );
  };

  return {
    messages,
    snapshot,
    join,
  } as unknown as grpc.UntypedServiceImplementation;
};

/** The data parts. The end must be there: without it the sender broke off. */
async function* dataOf(parts: AsyncIterator<SnapshotPart>): AsyncIterable<Uint8Array> {
  for (let crc = 0; ; ) {
    const next = await parts.next();
    const part = next.done ? undefined : next.value.part;
    if (part?.$case === "end" && part.value.crc32 === crc) return;
    if (part?.$case !== "data") throw new TswarmError("unavailable", "the snapshot did not arrive completely");
    crc = crc32(part.value, crc);
    yield part.value;
  }
}
