// What this manager answers itself, whoever leads.
import { randomBytes } from "node:crypto";
import type { Client } from "@grpc/grpc-js";
import type { Clock } from "#base/clock.ts";
import { TswarmError } from "#base/errors.ts";
import { VERSION } from "#base/version.ts";
import { withoutSecrets } from "#control-plane/api/without-secrets.ts";
import { encodeBackup } from "#control-plane/backup/format.ts";
import type { ReplicatedLog } from "#control-plane/log/log.ts";
import { quorumView } from "#control-plane/quorum/status.ts";
import { SALT_BYTES } from "#control-plane/raft-host/keys.ts";
import type { State } from "#control-plane/state/types.ts";
import { QuorumDefinition, type QuorumMember } from "#proto/gen/quorum.ts";
import { createClient } from "#proto/rpc/client.ts";
import type { Handlers } from "#proto/rpc/server.ts";

/** A manager that does not answer by then counts as one that can't be reached. */
const ANSWER_MS = 1_500;

export type QuorumOptions = {
  readonly log: Pick<ReplicatedLog, "status" | "health" | "readBarrier">;
  readonly state: State;
  readonly clock: Clock;
  readonly dial: (address: string) => Client;
  /** Bytes of this manager's log on disk. */
  readonly logBytes: () => number;
};

export const createQuorumService = (options: QuorumOptions): Handlers<QuorumDefinition> => {
  const { log, state, clock, dial, logBytes } = options;
  const startedAt = clock.now();

  const ownReport = (): QuorumMember => {
    const { raftId, term, leaderId, commit, applied, members } = log.status();
    const { role, firstIndex, lastIndex, snapshot, sync, pending, heard } = log.health();
    return {
      ...{ raftId, role, term, leaderId, commit, applied, firstIndex, lastIndex, startedAt },
      snapshotIndex: snapshot?.index ?? 0,
      snapshotAt: snapshot?.at ?? 0,
      snapshotBytes: snapshot?.bytes ?? 0,
      logBytes: logBytes(),
      syncP50Ms: sync?.p50 ?? 0,
      syncP99Ms: sync?.p99 ?? 0,
      pendingProposals: pending,
      digests: [...state.digests()],
      peers: members.map((m) => ({
        ...{ raftId: m.raftId, nodeId: m.nodeId, addr: m.addr, voter: m.voter, reachable: m.reachable, match: m.match },
        heardAt: m.raftId === raftId ? clock.now() : (heard.get(m.raftId) ?? 0),
      })),
    };
  };

  const ask = async (address: string, raftId: number): Promise<[number, QuorumMember][]> => {
    const report = await createClient(QuorumDefinition, dial(address)).member({}, { deadlineMs: ANSWER_MS });
    // Another manager may be reached under the address by now.
    return report.raftId === raftId ? [[raftId, report]] : [];
  };

  const nameOf = (nodeId: string): string => {
    const node = state.get("node", nodeId);
    return node?.spec?.annotations?.name || node?.description?.hostname || "";
  };

  return {
    member: async () => ownReport(),
    async status() {
      const own = ownReport();
      const asked = own.peers.filter((p) => p.raftId !== own.raftId);
      const answers = await Promise.all(asked.map((p) => ask(p.addr, p.raftId).catch(() => [])));
      const cluster = state.cluster();
      return {
        ...quorumView(own, new Map(answers.flat()), nameOf),
        cluster: cluster && withoutSecrets(cluster),
        answeredBy: own.peers.find((p) => p.raftId === own.raftId)?.nodeId ?? "",
        nodes: state.count("node"),
      };
    },
    async *backup() {
      await log.readBarrier();
      const cluster = state.cluster();
      if (cluster === undefined)
        throw new TswarmError("unavailable", "the cluster is being set up: try again in a moment");
      const { raftIds } = log.health();
      const { id: clusterId, unlockKey } = cluster;
      const header = { clusterId, createdAt: clock.now(), index: state.index, version: VERSION, raftIds: [...raftIds] };
      // The state is captured here; what is committed while it travels is in the next backup.
      const lock = unlockKey === "" ? undefined : { unlockKey, salt: randomBytes(SALT_BYTES) };
      for (const data of encodeBackup(header, state.snapshot(), lock)) yield { data };
    },
  };
};
