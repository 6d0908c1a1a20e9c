// Asking a cluster to take a member in or to let one go, from outside. Follows the hint to the leader.
import * as grpc from "@grpc/grpc-js";
import { TswarmError } from "#base/errors.ts";
import { raftServiceDefinition } from "#control-plane/raft-host/raft-service.ts";
import type { JoinRaftResponse } from "#proto/gen/raft.ts";
import { fromServiceError } from "#proto/rpc/status.ts";

const MAX_HOPS = 5;
const DEADLINE_MS = 30_000;

const callLeader = async <Q, S>(
  addr: string,
  credentials: grpc.ChannelCredentials,
  method: {
    path: string;
    requestSerialize: (q: Q) => Buffer;
    responseDeserialize: (bytes: Buffer) => S;
  },
  request: Q,
): Promise<S> => {
  let target = addr;
  for (let hop = 0; hop < MAX_HOPS; hop++) {
    const client = new grpc.Client(target, credentials);
    try {
      return await new Promise<S>((resolve, reject) => {
        const { path, requestSerialize, responseDeserialize } = method;
        const deadline = Date.now() + DEADLINE_MS;
        client.makeUnaryRequest(
          path,
          requestSerialize,
          responseDeserialize,
          request,
          { deadline },
          (error, response) => (error ? reject(error) : resolve(response!)),
        );
      });
    } catch (error) {
      const refusal = fromServiceError(error as grpc.ServiceError);
      const leader = refusal.code === "not_leader" ? refusal.leaderAddr : undefined;
      if (leader === undefined || leader === target) throw refusal;
      target = leader;
    } finally {
      client.close();
    }
  }
  throw new TswarmError("unavailable", `no leader found after asking ${MAX_HOPS} managers, beginning with ${addr}`);
};

/** Joins as a learner; the leader makes it a voter when it has caught up. Repeating it with the same node id is harmless. */
export const requestJoin = (
  addr: string,
  credentials: grpc.ChannelCredentials,
  self: { readonly nodeId: string; readonly addr: string },
): Promise<JoinRaftResponse> => callLeader(addr, credentials, raftServiceDefinition.join, self);
