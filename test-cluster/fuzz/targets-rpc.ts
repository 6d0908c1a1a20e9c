// Requests as bytes to the real services over a real connection, as any program with a certificate can send them.
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { type Client, credentials, Server, ServerCredentials, type ServiceError } from "@grpc/grpc-js";
import { TswarmError } from "#base/errors.ts";
import { startTestManager } from "#control-plane/manager/test-manager.ts";
import { encodeFrame } from "#control-plane/raft-host/frame-codec.ts";
import { encodeMessage } from "#control-plane/raft-host/message-codec.ts";
import { raftServiceDefinition, raftServiceHandlers } from "#control-plane/raft-host/raft-service.ts";
import type { TransportHost } from "#control-plane/raft-host/transport.ts";
import { parseStack } from "#control-plane/stack/parse.ts";
import { CaDefinition } from "#proto/gen/ca.ts";
import { ControlDefinition } from "#proto/gen/control.ts";
import { DispatcherDefinition } from "#proto/gen/dispatcher.ts";
import { JoinRaftRequest, SnapshotPart } from "#proto/gen/raft.ts";
import { NodeAvailability, NodeRole } from "#proto/gen/types.ts";
import { openChannel } from "#proto/rpc/client.ts";
import { type MethodDefinition, methodPath, type RpcDefinition } from "#proto/rpc/definition.ts";
import { fromServiceError } from "#proto/rpc/status.ts";
import type { Target } from "#test-cluster/fuzz/target.ts";

const raw = (bytes: Buffer): Buffer => bytes;
/** Streams go on until they are cut off. */
const PATIENCE_MS = 20;

type Method = { readonly path: string; readonly method: MethodDefinition };
const methodsOf = (definition: RpcDefinition): Method[] =>
  Object.values(definition.methods).map((method) => ({ path: methodPath(definition, method), method }));

/** Sends the bytes as one message. Resolves with how the call ended; undefined: well, or not at all. */
const call = (channel: Client, path: string, streams: boolean, bytes: Buffer): Promise<ServiceError | undefined> =>
  new Promise((resolve) => {
    const stream = channel.makeBidiStreamRequest(path, raw, raw);
    const timer = streams ? setTimeout(() => stream.cancel(), PATIENCE_MS) : undefined;
    const end = (error?: ServiceError) => {
      clearTimeout(timer);
      resolve(error);
    };
    stream.on("data", () => {});
    stream.on("error", (error: ServiceError) => end(error));
    stream.on("end", () => end());
    stream.end(bytes);
  });

/** Fields of all requests together; each takes those that it has. */
const stack = parseStack(readFileSync(resolve(import.meta.dirname, "../../deploy/stacks/demo.yaml"), "utf8"), {
  name: "demo",
});
const filled = ({ requestType }: MethodDefinition): unknown =>
  (requestType as unknown as { fromPartial(fields: object): unknown }).fromPartial({
    ...{
      ref: "w1",
      id: "w1",
      name: "demo",
      node: "w1",
      task: "t",
      network: "ingress",
      version: 1,
      addr: "192.0.2.7:4242",
    },
    ...{ filters: [{ key: "name", value: "a" }], selectors: [{ table: "node", id: "w1" }], prune: true },
    ...{ networks: stack.networks, services: stack.services, config: { target: "ingress" }, nodeId: "w1" },
    spec: {
      ...stack.networks[0],
      ...stack.services[0],
      ...stack.services[0]?.task,
      ...{ role: NodeRole.WORKER, availability: NodeAvailability.ACTIVE, name: "demo", heartbeatMs: 5000 },
    },
    sessionId: "s",
    description: { hostname: "w1", os: "linux", resources: { nanoCpus: 1e9 } },
    updates: [{ taskId: "t", status: { state: 512 } }],
    token: "TSWTKN-1-x",
  });

const rpcTarget = (name: string, definition: RpcDefinition, role: "manager" | "worker"): Target => ({
  name,
  weight: 3,
  strict: false,
  open: async () => {
    const manager = await startTestManager();
    const channel = manager.dial(await manager.identity(role === "manager" ? "m1" : "w1", role));
    const methods = methodsOf(definition);
    return {
      // The first byte says which method.
      samples: methods.map(({ method }, i) =>
        Buffer.concat([Buffer.from([i]), method.requestType.encode(filled(method)).finish()]),
      ),
      run: async (input) => {
        const { path, method } = methods[(input[0] ?? 0) % methods.length]!;
        const error = await call(channel, path, method.requestStream || method.responseStream, input.subarray(1));
        if (error === undefined) return;
        const refusal = fromServiceError(error);
        // What a handler throws that was not meant arrives as this.
        throw refusal.code === "internal" ? new Error(refusal.message) : refusal;
      },
      close: () => {
        channel.close();
        manager.close();
      },
    };
  },
});

export const rpcTargets: readonly Target[] = [
  rpcTarget("control requests", ControlDefinition, "manager"),
  rpcTarget("dispatcher requests", DispatcherDefinition, "worker"),
  rpcTarget("CA requests", CaDefinition, "worker"),
  {
    name: "raft service",
    weight: 3,
    strict: false,
    open: async () => {
      const server = new Server();
      const host = {
        ...{
          raftId: 2,
          clusterId: "c",
          peers: () => [],
          isRemoved: (id: number) => id === 9,
          addMember: async () => 4,
        },
        beginSnapshot: () => ({
          offset: 0,
          receive: async (_term: number, pieces: AsyncIterable<Uint8Array>) => {
            for await (const _ of pieces);
          },
        }),
        ...{ receive: () => {}, unreachable: () => {}, arrived: () => {}, lost: () => {}, removedByOthers: () => {} },
        removeMember: async () => {},
      } satisfies TransportHost;
      server.addService(
        raftServiceDefinition,
        raftServiceHandlers(host, () => {}),
      );
      const port = await new Promise<number>((resolve, reject) =>
        server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (e, bound) =>
          e ? reject(e) : resolve(bound),
        ),
      );
      const channel = openChannel(`127.0.0.1:${port}`, credentials.createInsecure());
      const vote = {
        ...{ from: 1, to: 2, term: 3 },
        kind: "pre-vote",
        lastIndex: 1,
        lastTerm: 1,
        transfer: false,
      } as const;
      const start = { $case: "start", value: { clusterId: "c", from: 1, to: 2, term: 3, index: 9 } } as const;
      const samples = [
        encodeFrame({ clusterId: "c", from: 1, to: 2, messages: [encodeMessage(vote)] }),
        SnapshotPart.encode(SnapshotPart.fromPartial({ part: start })).finish(),
        JoinRaftRequest.encode({ nodeId: "n", addr: "192.0.2.1:1" }).finish(),
      ];
      const methods = Object.values(raftServiceDefinition);
      return {
        samples: samples.map((sample, i) => Buffer.concat([Buffer.from([i]), sample])),
        run: async (input) => {
          const { path, requestStream, responseStream } = methods[(input[0] ?? 0) % methods.length]!;
          const error = await call(channel, path, requestStream || responseStream, input.subarray(1));
          // A frame that is none is refused by gRPC itself, which knows no codes of ours. Any status is a clear answer here.
          if (error !== undefined) throw new TswarmError("invalid", `${error.code} ${error.details}`);
        },
        close: () => {
          channel.close();
          server.forceShutdown();
        },
      };
    },
  },
];
