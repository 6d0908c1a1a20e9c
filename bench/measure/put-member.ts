// One member with a put service, as a process: node put-member.ts RAFT-ID FOLDER PORT. See put-cluster.ts.
import path from "node:path";
import * as grpc from "@grpc/grpc-js";
import { silentLogger } from "#base/log.ts";
import { realClock, systemRandom } from "#base/node/system.ts";
import type { StateMachine } from "#control-plane/log/log.ts";
import { grpcTransport } from "#control-plane/raft-host/grpc-transport.ts";
import { openRaftLog } from "#control-plane/raft-host/raft-log.ts";
import { raftServiceDefinition, raftServiceHandlers } from "#control-plane/raft-host/raft-service.ts";
import { benchKeys } from "./keys.ts";
import { benchPeers, grpcPort, http2Port, type MemberStatus } from "./put-cluster.ts";
import { addGrpcPut, http2PutServer } from "./put-service.ts";

/** Length of a put's request: a key of 16 bytes, a value of 256. */
const REQUEST_BYTES = 277;
const KEYS_A_CHUNK = 1000;

const keyOf = (request: Buffer): string => request.toString("latin1", 2, 18);

/** Keys with their requests as they came. */
const puts = (): StateMachine => {
  let state = new Map<string, Buffer>();
  return {
    apply: (entries) => {
      for (const { data } of entries) {
        const request = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
        state.set(keyOf(request), request);
      }
    },
    restore: async (snapshot) => {
      state = new Map();
      for await (const chunk of snapshot.chunks)
        for (let at = 0; at < chunk.length; at += REQUEST_BYTES) {
          const request = Buffer.from(chunk.subarray(at, at + REQUEST_BYTES));
          state.set(keyOf(request), request);
        }
    },
    snapshot: () => {
      const all = [...state.values()];
      return (function* () {
        for (let at = 0; at < all.length; at += KEYS_A_CHUNK) yield Buffer.concat(all.slice(at, at + KEYS_A_CHUNK));
      })();
    },
  };
};

const [raftId, root, base] = [Number(process.argv[2]), process.argv[3]!, Number(process.argv[4])];
const log = await openRaftLog({
  dir: path.join(root, `m${raftId}`),
  raftId,
  clusterId: "bench",
  beginning: { kind: "bootstrap", members: benchPeers(base) },
  stateMachine: puts(),
  transport: grpcTransport({
    credentials: grpc.credentials.createInsecure(),
    clock: realClock,
    random: systemRandom,
    logger: silentLogger,
  }),
  keys: benchKeys(),
  clock: realClock,
  random: systemRandom,
  logger: silentLogger,
  onFatal: (error) => {
    console.error(error);
    process.exit(1);
  },
});

const propose = (request: Buffer): Promise<number> => log.propose(request);
const server = new grpc.Server();
server.addService(
  raftServiceDefinition,
  raftServiceHandlers(log.host, () => {}),
);
addGrpcPut(server, propose);
const listening = Promise.withResolvers<void>();
server.bindAsync(`127.0.0.1:${grpcPort(base, raftId)}`, grpc.ServerCredentials.createInsecure(), (error) =>
  error ? listening.reject(error) : listening.resolve(),
);
await listening.promise;
await new Promise<void>((resolve) => http2PutServer(propose).listen(http2Port(base, raftId), "127.0.0.1", resolve));

process.on("message", () => {
  const { isLeader, term, leaderId, applied } = log.status();
  process.send!({ isLeader, term, leaderId, applied } satisfies MemberStatus);
});
process.once("SIGTERM", () => void log.stop().then(() => process.exit(0)));
process.once("disconnect", () => process.exit(0));
process.send!("up");
