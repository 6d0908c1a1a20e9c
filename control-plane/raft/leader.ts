// The leader: proposals, answers of the members, check-quorum, transfer of leadership.
import { encodeConfChange } from "#control-plane/raft/conf-change.ts";
import type { Core } from "#control-plane/raft/core.ts";
import { becomeFollower } from "#control-plane/raft/follower.ts";
import { entryBytes } from "#control-plane/raft/log.ts";
import type { Progress } from "#control-plane/raft/progress.ts";
import { quorumActive } from "#control-plane/raft/quorum.ts";
import {
  addRead,
  advanceCommit,
  bytesOf,
  confirmReads,
  sendAppend,
  sendHeartbeats,
} from "#control-plane/raft/replicate.ts";
import type {
  ConfChange,
  EntryType,
  Message,
  MessageOf,
  ProposeRefusal,
  ProposeResult,
} from "#control-plane/raft/types.ts";

export const becomeLeader = (core: Core): void => {
  const { log, conf } = core;
  core.resetRole(core.term);
  core.role = "leader";
  core.leader = core.id;
  core.electionElapsed = 0;
  const next = log.lastIndex + 1;
  for (const id of conf.voters) core.progress.set(id, core.newProgress(next, false, id === core.id));
  for (const id of conf.learners) core.progress.set(id, core.newProgress(next, true, false));
  core.uncommittedBytes = bytesOf(log.slice(log.committed + 1, log.lastIndex, Number.POSITIVE_INFINITY));
  // The empty entry commits what earlier terms left behind (§3.6.2). No change of members before it is applied: that
  // closes the hole in single-server changes (Ongaro, raft-dev, 2015).
  core.pendingConfIndex = appendOwn(core, "normal", new Uint8Array(0));
};

const appendOwn = (core: Core, type: EntryType, data: Uint8Array): number => {
  const entry = { term: core.term, index: core.log.lastIndex + 1, type, data };
  core.log.append([entry]);
  core.uncommittedBytes += entryBytes(entry);
  return entry.index;
};

const refused = (reason: ProposeRefusal): ProposeResult => ({ ok: false, reason });

const proposeEntry = (core: Core, type: EntryType, data: Uint8Array): ProposeResult => {
  if (core.role !== "leader") return refused("not_leader");
  if (core.transferee !== 0) return refused("transferring");
  // The first one always passes, however large.
  const bytes = core.uncommittedBytes;
  if (bytes > 0 && bytes + data.length > core.config.maxUncommittedBytes) return refused("dropped");
  return { ok: true, index: appendOwn(core, type, data), term: core.term };
};

export const propose = (core: Core, data: Uint8Array): ProposeResult => proposeEntry(core, "normal", data);

export const proposeConfChange = (core: Core, change: ConfChange): ProposeResult => {
  if (core.role === "leader" && core.pendingConfIndex > core.log.applied) return refused("conf_pending");
  const result = proposeEntry(core, "conf", encodeConfChange(change));
  if (result.ok) core.pendingConfIndex = result.index;
  return result;
};

/** A leader that does not hear from a majority for an election timeout steps down: nobody must take it for the leader. */
export const leaderTick = (core: Core): void => {
  if (++core.electionElapsed >= core.config.electionTicks) {
    core.electionElapsed = 0;
    if (!quorumActive(core.conf.voters, (id) => id === core.id || core.progress.get(id)?.recentActive === true)) {
      becomeFollower(core, core.term, 0);
      return;
    }
    for (const progress of core.progress.values()) progress.recentActive = false;
    // A transfer that takes this long has failed; proposals are taken again.
    core.transferee = 0;
  }
  if (++core.heartbeatElapsed >= core.config.heartbeatTicks) sendHeartbeats(core);
};

export const leaderStep = (core: Core, m: Message): void => {
  if (m.kind === "read-index") {
    addRead(core, m.context, m.from);
    return;
  }
  if (m.kind === "transfer-leader") {
    startTransfer(core, m.target);
    return;
  }
  const progress = core.progress.get(m.from);
  if (progress === undefined) return;
  if (m.kind === "append-response") {
    progress.recentActive = true;
    m.reject ? handleRejection(core, m, progress) : handleAck(core, m, progress);
  }
  if (m.kind === "heartbeat-response") {
    progress.recentActive = true;
    progress.resumeProbe();
    if (progress.state === "replicate") progress.freeOne();
    // Also when everything was sent already: if the last message was lost, this one shows it.
    if (progress.match < core.log.lastIndex) sendAppend(core, m.from, progress, true);
    progress.round = Math.max(progress.round, m.round);
    confirmReads(core);
  }
};

const handleRejection = (core: Core, m: MessageOf<"append-response">, progress: Progress): void => {
  // Go back to the last entry both logs can agree on: whole terms, not entry by entry.
  const hint = m.hintTerm > 0 ? core.log.findConflictByTerm(m.hintIndex, m.hintTerm).index : m.hintIndex;
  if (progress.rejected(m.index, hint) && progress.state === "replicate") progress.becomeProbe();
};

const handleAck = (core: Core, m: MessageOf<"append-response">, progress: Progress): void => {
  const news = progress.acked(m.index);
  if (!news && !(progress.state === "probe" && progress.match === m.index)) return;
  if (progress.state === "probe") progress.becomeReplicate();
  if (progress.state === "snapshot" && progress.match + 1 >= core.log.firstIndex) progress.becomeReplicate();
  advanceCommit(core);
  finishTransfer(core);
};

export const startTransfer = (core: Core, to: number): void => {
  const progress = core.progress.get(to);
  if (to === core.id || progress === undefined || progress.learner) return;
  core.transferee = to;
  core.electionElapsed = 0;
  finishTransfer(core);
};

const finishTransfer = (core: Core): void => {
  const progress = core.progress.get(core.transferee);
  if (progress?.match === core.log.lastIndex) core.send(core.transferee, { kind: "timeout-now" });
};

/** Brings the leader's books in line with `core.conf` after a change was applied. */
export const membersChanged = (core: Core): void => {
  const { conf, progress, log } = core;
  for (const id of [...progress.keys()]) {
    if (!conf.voters.includes(id) && !conf.learners.includes(id) && id !== core.id) progress.delete(id);
  }
  for (const id of [...conf.voters, ...conf.learners]) {
    const learner = conf.learners.includes(id);
    const known = progress.get(id);
    if (known !== undefined) known.learner = learner;
    // Counted as active at first, or check-quorum would end the term before the new one had a chance to answer.
    else progress.set(id, core.newProgress(log.lastIndex + 1, learner, true));
  }
  if (!progress.has(core.transferee)) core.transferee = 0;
  // A smaller majority may have committed more.
  advanceCommit(core);
  confirmReads(core);
};
