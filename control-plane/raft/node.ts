// The door to the core: input → data out. One thread, no waiting: the term can't change between reading and using it.

import { assert } from "#base/assert.ts";
import { campaign, candidateStep, handleVoteRequest, recordVote } from "#control-plane/raft/candidate.ts";
import { changedConf } from "#control-plane/raft/conf-change.ts";
import { Core, type RaftConfig } from "#control-plane/raft/core.ts";
import { becomeFollower, followerStep, loseLeader } from "#control-plane/raft/follower.ts";
import {
  leaderStep,
  leaderTick,
  membersChanged,
  propose,
  proposeConfChange,
  startTransfer,
} from "#control-plane/raft/leader.ts";
import { addRead, advanceCommit, flush } from "#control-plane/raft/replicate.ts";
import type {
  ConfChange,
  ConfState,
  HardState,
  Message,
  ProposeResult,
  Ready,
  SnapshotMeta,
  Status,
  Summary,
} from "#control-plane/raft/types.ts";

export type RaftNode = {
  tick(): void;
  /** A received message. A "snapshot" is stepped once its data is here completely. */
  step(m: Message): void;
  propose(data: Uint8Array): ProposeResult;
  proposeConfChange(change: ConfChange): ProposeResult;
  /** Asks for a read index. `context` is never used twice, also not after a restart. May stay without answer: ask again. */
  readIndex(context: number): void;
  transferLeadership(to: number): void;
  /** Takes out what is new since the last call; null when there is nothing. */
  ready(): Ready | null;
  /** Everything of this Ready and all earlier ones is on disk. */
  stabilized(token: number): void;
  /** The host has applied up to `index` (also after restoring a snapshot of that index). */
  applied(index: number): void;
  /** To be called when a committed "conf" entry is applied, before `applied`. */
  applyConfChange(change: ConfChange): ConfState;
  /** A snapshot of the applied state is on disk, and members too far behind may get it. */
  snapshotted(snapshot: SnapshotMeta): void;
  /** Drops entries up to `index`; a snapshot must cover them. More when those that stay before it have over `maxKeptBytes`. */
  compact(index: number, maxKeptBytes?: number): void;
  /** The term of an applied entry that is not compacted yet: for the meta of a snapshot. */
  termAt(index: number): number;
  reportUnreachable(id: number): void;
  /**
   * The connection to or from that member ended from its side, as it does at once when its process dies. May be wrong: that
   * costs a pre-vote nobody grants.
   */
  peerLost(id: number): void;
  /** The transfer of a snapshot to that member has ended. */
  reportSnapshot(id: number, ok: boolean): void;
  status(): Status;
  /** The part of it that costs nothing: for every turn. */
  summary(): Summary;
};

export const createRaftNode = (config: RaftConfig): RaftNode => {
  const core = new Core(config);
  const { log } = core;
  let told: HardState = hardStateOf(core);

  return {
    tick: () => {
      if (core.role === "leader") return leaderTick(core);
      core.electionElapsed++;
      // The only voter disturbs nobody and has nobody to wait for.
      const alone = core.role === "follower" && core.conf.voters.length === 1;
      const due = alone || core.electionElapsed >= core.electionTimeout;
      if (due && core.promotable) campaign(core, "pre-vote");
    },
    step: (m) => step(core, m),
    propose: (data) => propose(core, data),
    proposeConfChange: (change) => proposeConfChange(core, change),
    readIndex: (context) => {
      if (core.role === "leader") addRead(core, context, core.id);
      else if (core.leader !== 0) core.send(core.leader, { kind: "read-index", context });
    },
    transferLeadership: (to) => {
      if (core.role === "leader") startTransfer(core, to);
      else if (core.leader !== 0) core.send(core.leader, { kind: "transfer-leader", target: to });
    },
    ready: () => {
      if (core.role === "leader") flush(core);
      const hardState = hardStateOf(core);
      const moved = hardState.term !== told.term || hardState.vote !== told.vote;
      const changed = moved || hardState.commit !== told.commit;
      if (
        !changed &&
        !log.hasUnhanded &&
        !log.hasCommitted &&
        core.messages.length + core.afterSync.length + core.readStates.length === 0
      ) {
        return null;
      }
      const token = core.nextToken++;
      const { entries, snapshot } = log.takeUnstable(token);
      const { messages, afterSync, readStates } = core;
      core.messages = [];
      core.afterSync = [];
      core.readStates = [];
      told = hardState;
      return {
        token,
        hardState: changed ? hardState : null,
        entries,
        snapshot,
        messages,
        afterSync,
        committed: log.takeCommitted(config.maxCommittedBytes),
        readStates,
        mustSync: moved || entries.length > 0 || snapshot !== null,
      };
    },
    stabilized: (token) => {
      log.stabilized(token);
      if (core.role === "leader") advanceCommit(core);
      if (core.role === "candidate" && core.selfVoteToken <= token) recordVote(core, core.id, true);
    },
    applied: (index) => log.appliedTo(index),
    applyConfChange: (change) => {
      core.conf = changedConf(core.conf, change);
      if (core.role !== "leader") return core.conf;
      membersChanged(core);
      if (!core.conf.voters.includes(core.id)) {
        // The others learn first that the removal is committed.
        flush(core);
        becomeFollower(core, core.term, 0);
      }
      return core.conf;
    },
    snapshotted: (snapshot) => {
      if (snapshot.index > (core.snapshot?.index ?? 0)) core.snapshot = snapshot;
    },
    compact: (index, maxKeptBytes = Number.POSITIVE_INFINITY) => {
      const covered = core.snapshot?.index ?? 0;
      log.compact(Math.max(Math.min(index, covered), log.startOfTail(covered, maxKeptBytes) - 1));
    },
    termAt: (index) => {
      const term = log.term(index);
      assert(term !== undefined, `entry ${index} is compacted`);
      return term;
    },
    reportUnreachable: (id) => {
      const progress = core.progress.get(id);
      // What was in flight is probably lost.
      if (progress?.state === "replicate") progress.becomeProbe();
    },
    peerLost: (id) => {
      if (core.role === "follower" && core.leader === id) loseLeader(core);
      // Proposals are taken again.
      if (core.transferee === id) core.transferee = 0;
    },
    reportSnapshot: (id, ok) => {
      const progress = core.progress.get(id);
      if (progress?.state !== "snapshot") return;
      if (!ok) progress.snapshotFailed();
      progress.becomeProbe();
      // The member's own answer or the next heartbeat goes on.
      progress.pauseProbe();
    },
    status: () => statusOf(core),
    summary: () => core,
  };
};

const hardStateOf = (core: Core): HardState => ({ term: core.term, vote: core.vote, commit: core.log.committed });

const step = (core: Core, m: Message): void => {
  if (m.to !== core.id || core.conf.removed.includes(m.from)) return;
  if (m.term < core.term) {
    stepOlderTerm(core, m);
    return;
  }
  if (m.term > core.term && !enterTerm(core, m)) return;
  if (m.kind === "vote" || m.kind === "pre-vote") {
    handleVoteRequest(core, m);
    return;
  }
  if (core.role === "leader") {
    leaderStep(core, m);
    return;
  }
  if (core.role === "follower") {
    followerStep(core, m);
    return;
  }
  candidateStep(core, m);
};

const stepOlderTerm = (core: Core, m: Message): void => {
  if (m.kind === "append" || m.kind === "heartbeat" || m.kind === "snapshot") {
    // With pre-vote and check-quorum a member of a higher term could stay alone for ever: this answer ends the old term.
    core.send(m.from, { kind: "append-response", index: 0, reject: true, hintIndex: 0, hintTerm: 0 });
  }
  if (m.kind === "pre-vote") core.send(m.from, { kind: "pre-vote-response", reject: true });
};

/** Goes to the message's higher term where that is due. Returns whether the message is to be handled. */
const enterTerm = (core: Core, m: Message): boolean => {
  if (m.kind === "vote" || m.kind === "pre-vote") {
    if (core.inLease && !m.transfer) return false;
    if (m.kind === "pre-vote") return true;
  }
  // A granted pre-vote speaks of the term to come.
  if (m.kind === "pre-vote-response" && !m.reject) return true;
  const fromLeader = m.kind === "append" || m.kind === "heartbeat" || m.kind === "snapshot";
  becomeFollower(core, m.term, fromLeader ? m.from : 0);
  return true;
};

const statusOf = (core: Core): Status => ({
  id: core.id,
  role: core.role,
  term: core.term,
  vote: core.vote,
  leader: core.leader,
  commit: core.log.committed,
  applied: core.log.applied,
  firstIndex: core.log.firstIndex,
  lastIndex: core.log.lastIndex,
  conf: core.conf,
  transferee: core.transferee,
  progress: [...core.progress]
    .map(([id, p]) => ({
      id,
      learner: p.learner,
      match: id === core.id ? core.log.stable : p.match,
      next: p.next,
      state: p.state,
      recentActive: p.recentActive || id === core.id,
    }))
    .sort((a, b) => a.id - b.id),
});
