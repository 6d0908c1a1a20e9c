// Whether a manager may go on alone: only when the others can't decide anything without it.
import type { Client } from "@grpc/grpc-js";
import { refuse } from "#base/errors.ts";
import { QuorumDefinition, type QuorumStatusResponse } from "#proto/gen/quorum.ts";
import { createClient } from "#proto/rpc/client.ts";

/** A manager asks the others for 1.5 s before it answers. */
const DEADLINE_MS = 3_000;

/**
 * Asks every manager that answers, at the same moment. Throws `conflict` when one of them sees a quorum, or says that this
 * manager was removed. @param own the manager of this node; undefined when it does not run
 */
export const refuseWithQuorum = async (own: Client | undefined, others: readonly Client[]): Promise<void> => {
  const ask = (channel: Client): Promise<QuorumStatusResponse | undefined> =>
    createClient(QuorumDefinition, channel)
      .status({}, { deadlineMs: DEADLINE_MS })
      .catch(() => undefined);
  const [mine, ...theirs] = await Promise.all([own ? ask(own) : undefined, ...others.map(ask)]);
  const self = mine?.members.find((m) => m.nodeId === mine.answeredBy);
  if (self?.role === "removed")
    throw refuse(
      "conflict",
      "manager",
      "it was removed from the cluster, which goes on without it",
      "Run `tsctl cluster leave --force`, then join again",
    );
  for (const status of [mine, ...theirs]) {
    if (status === undefined || status.reachableVoters < status.needed) continue;
    const leader = status.members.find((m) => m.leader);
    const who = leader ? `${leader.name || leader.nodeId} (${leader.addr}) leads` : "an election is under way";
    throw refuse(
      "conflict",
      "quorum",
      `it is not lost: ${status.reachableVoters} of ${status.voters} managers can be reached, and ${who}`,
      "Remove managers that are gone with `tsctl node demote` and `tsctl node rm`",
    );
  }
};
