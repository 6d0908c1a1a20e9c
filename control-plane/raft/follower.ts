// What a follower does with its leader's messages.

import { campaign } from "#control-plane/raft/candidate.ts";
import type { Core } from "#control-plane/raft/core.ts";
import type { Message, MessageOf, SnapshotMeta } from "#control-plane/raft/types.ts";

/** `leader` 0: not known yet. */
export const becomeFollower = (core: Core, term: number, leader: number): void => {
  const wasFollower = core.role === "follower";
  core.resetRole(term);
  core.role = "follower";
  core.leader = leader;
  // A follower that only learns a higher term keeps its timer: only a leader or a granted vote restarts it (§3.4).
  if (leader !== 0 || !wasFollower) core.restartElectionTimer();
};

export const followerStep = (core: Core, m: Message): void => {
  switch (m.kind) {
    case "append":
      heard(core, m.from);
      handleAppend(core, m);
      return;
    case "heartbeat":
      heard(core, m.from);
      core.log.commitTo(m.commit);
      core.send(m.from, { kind: "heartbeat-response", round: m.round });
      return;
    case "snapshot":
      heard(core, m.from);
      handleSnapshot(core, m);
      return;
    case "timeout-now":
      if (core.promotable) campaign(core, "transfer");
      return;
    case "transfer-leader":
      if (core.leader !== 0) core.send(core.leader, { kind: "transfer-leader", target: m.target });
      return;
    case "read-index-response":
      core.readStates.push({ context: m.context, index: m.index });
      return;
    default:
  }
};

const heard = (core: Core, leader: number): void => {
  if (core.leaderLost) {
    // Only the connection was gone.
    core.leaderLost = false;
    core.restartElectionTimer();
  }
  core.electionElapsed = 0;
  core.leader = leader;
};

/**
 * The connection to the leader broke. Its process is probably gone, so the followers don't wait for its silence to last, and
 * one after the other asks for a pre-vote: two at once would split the votes. If only this connection broke, the others
 * still hear the leader and give none.
 */
export const loseLeader = (core: Core): void => {
  const turn = core.conf.voters.filter((id) => id !== core.leader).indexOf(core.id);
  core.leaderLost = true;
  if (turn >= 0) core.electionTimeout = Math.min(core.electionTimeout, core.electionElapsed + 2 * (turn + 1));
};

const accepted = (core: Core, to: number, index: number): void =>
  core.send(to, { kind: "append-response", index, reject: false, hintIndex: 0, hintTerm: 0 });

const handleAppend = (core: Core, m: MessageOf<"append">): void => {
  const { log } = core;
  if (m.prevIndex < log.committed) {
    accepted(core, m.from, log.committed);
    return;
  }
  const last = log.acceptAppend(m.prevIndex, m.prevTerm, m.entries);
  if (last !== undefined) {
    // Not further than what is known to match: the own log may go on with entries of another leader.
    log.commitTo(Math.min(m.commit, last));
    accepted(core, m.from, last);
    return;
  }
  const hint = log.findConflictByTerm(Math.min(m.prevIndex, log.lastIndex), m.prevTerm);
  core.send(m.from, {
    kind: "append-response",
    index: m.prevIndex,
    reject: true,
    hintIndex: hint.index,
    hintTerm: hint.term,
  });
};

const handleSnapshot = (core: Core, m: MessageOf<"snapshot">): void => {
  restore(core, m.snapshot);
  accepted(core, m.from, core.log.committed);
};

const restore = (core: Core, snapshot: SnapshotMeta): void => {
  const { log } = core;
  if (snapshot.index <= log.committed) return;
  if (log.term(snapshot.index) === snapshot.term) {
    log.commitTo(snapshot.index);
    return;
  }
  log.restore(snapshot);
  // The members come from the snapshot too: older ones would give majorities that don't overlap with today's.
  core.conf = snapshot.conf;
  core.snapshot = snapshot;
};
