// Opens the manager's log: of a new cluster, of a cluster that is joined, or the one that is in the folder already.
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { ChannelCredentials, Server } from "@grpc/grpc-js";
import type { Clock } from "#base/clock.ts";
import { refuse, TswarmError } from "#base/errors.ts";
import type { Logger } from "#base/log.ts";
import type { Membership } from "#base/node/identity-files.ts";
import type { Random } from "#base/random.ts";
import { managersOnly } from "#control-plane/api/require-manager.ts";
import type { ReplicatedLog } from "#control-plane/log/log.ts";
import { hasBootstrap } from "#control-plane/manager/bootstrap.ts";
import type { ManagerConfig } from "#control-plane/manager/config.ts";
import type { ReplicatedState } from "#control-plane/manager/replicated-state.ts";
import { grpcTransport } from "#control-plane/raft-host/grpc-transport.ts";
import type { DataKeys } from "#control-plane/raft-host/keys.ts";
import type { Beginning } from "#control-plane/raft-host/member-files.ts";
import { requestJoin } from "#control-plane/raft-host/membership-client.ts";
import { openRaftLog, type RaftLog, readRaftIdentity } from "#control-plane/raft-host/raft-log.ts";
import { raftServiceDefinition, raftServiceHandlers } from "#control-plane/raft-host/raft-service.ts";
import { peerOf } from "#proto/rpc/server.ts";

const FIRST_RAFT_ID = 1;

export type OpenLog = {
  readonly config: ManagerConfig;
  readonly identity: Membership;
  readonly credentials: ChannelCredentials;
  /** Gets raft's service. */
  readonly server: Server;
  readonly keys: DataKeys;
  readonly replicated: ReplicatedState;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** The others go on without this manager. */
  readonly onRemoved: () => void;
};

const joinCluster = async ({
  config,
  identity,
  credentials,
}: OpenLog): Promise<{ raftId: number; beginning: Beginning }> => {
  let failure: unknown;
  for (const address of config.join) {
    try {
      const { raftId, peers } = await requestJoin(address, credentials, {
        nodeId: identity.nodeId,
        addr: config.advertise,
      });
      return { raftId, beginning: { kind: "join", peers } };
    } catch (error) {
      failure = error;
    }
  }
  throw new TswarmError(
    "unavailable",
    `no manager takes this node into the quorum: ${TswarmError.from(failure).message}`,
    { cause: failure },
  );
};

const newCluster = ({ config, identity }: OpenLog): { raftId: number; beginning: Beginning } => {
  // Without the CA's key it would be a second cluster under the first one's name.
  if (!hasBootstrap(config.dataDir))
    throw new TswarmError("unavailable", "no manager to join is known, and this is not the cluster's first manager");
  return {
    raftId: FIRST_RAFT_ID,
    beginning: {
      kind: "bootstrap",
      members: [{ raftId: FIRST_RAFT_ID, nodeId: identity.nodeId, addr: config.advertise }],
    },
  };
};

export const openManagerLog = async (options: OpenLog): Promise<ReplicatedLog> => {
  const { config, identity, credentials, server, keys, replicated, clock, random, logger, onRemoved } = options;
  const dir = join(config.dataDir, "raft");
  let removed = false;
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const member = readRaftIdentity(dir);
  const open = (raftId: number, beginning: Beginning | null): Promise<RaftLog> =>
    openRaftLog({
      dir,
      raftId,
      clusterId: identity.clusterId,
      keys,
      beginning,
      stateMachine: replicated.machine,
      transport: grpcTransport({ credentials, clock, random, logger }),
      clock,
      random,
      logger,
      onFatal(error) {
        // What was not written may have been promised to nobody; a restart reads what is really on the disk.
        logger.error("the replicated log has stopped", { error });
        process.exit(1);
      },
      onRemoved() {
        if (removed) return;
        removed = true;
        logger.error("this manager was removed from the cluster", {
          remedy: "demote it, or run `tsctl cluster leave --force` on it, then join again",
        });
        onRemoved();
      },
    });
  const openNew = async (): Promise<RaftLog> => {
    const { raftId, beginning } = config.join.length > 0 ? await joinCluster(options) : newCluster(options);
    return open(raftId, beginning);
  };
  const log = member
    ? await open(member.raftId, hasBootstrap(config.dataDir) ? newCluster(options).beginning : null).catch((error) => {
        // Cut off between making the folder and writing the first members to it.
        if (TswarmError.from(error).code === "not_found") return openNew();
        throw error;
      })
    : await openNew();
  server.addService(
    raftServiceDefinition,
    raftServiceHandlers(log.host, (call, method, joining) => {
      const peer = peerOf(call as unknown as Parameters<typeof peerOf>[0]);
      if (peer?.role !== "manager" || peer.clusterId !== identity.clusterId)
        throw refuse("forbidden", "certificate", "raft is for managers of this cluster", "Join with a manager token");
      if (method !== "join") return;
      if (joining !== peer.nodeId)
        throw refuse(
          "forbidden",
          "node",
          `${peer.nodeId} may not join as ${joining}`,
          "A node joins with its own certificate",
        );
      // Only the leader takes members in, and only its state is sure to have the node already.
      if (log.status().isLeader) managersOnly(replicated.state, identity.clusterId)("joining the quorum", { peer });
    }),
  );
  return log;
};
