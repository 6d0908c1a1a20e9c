// The leader's sending side: appends, heartbeats, snapshots, and counting what came back.
import type { Core } from "#control-plane/raft/core.ts";
import { entryBytes } from "#control-plane/raft/log.ts";
import type { Progress } from "#control-plane/raft/progress.ts";
import { committedIndex } from "#control-plane/raft/quorum.ts";
import type { Entry } from "#control-plane/raft/types.ts";

/** Everything that became due since the last Ready, so that all proposals of one turn travel together. */
export const flush = (core: Core): void => {
  if (core.heartbeatDue) sendHeartbeats(core);
  for (const [id, progress] of core.progress) {
    if (id !== core.id) while (sendAppend(core, id, progress, false));
  }
};

/** One append message when there is news for the member (or `evenEmpty`). Returns whether one went out. */
export const sendAppend = (core: Core, to: number, progress: Progress, evenEmpty: boolean): boolean => {
  const { log } = core;
  if (progress.paused) return false;
  const prevIndex = progress.next - 1;
  const prevTerm = log.term(prevIndex);
  if (prevTerm === undefined) return sendSnapshot(core, to, progress);
  const blocked = progress.state === "replicate" && progress.full;
  const entries = blocked ? [] : log.slice(progress.next, log.lastIndex, core.config.maxMessageBytes);
  if (entries.length === 0 && !evenEmpty && progress.sentCommit >= log.committed) return false;
  core.send(to, { kind: "append", prevIndex, prevTerm, commit: log.committed, entries });
  progress.sent(entries.length, bytesOf(entries));
  progress.sentCommit = log.committed;
  return true;
};

const sendSnapshot = (core: Core, to: number, progress: Progress): boolean => {
  // A silent member would only cost a transfer that fails.
  if (core.snapshot === null || !progress.recentActive) return false;
  progress.becomeSnapshot(core.snapshot.index);
  core.send(to, { kind: "snapshot", snapshot: core.snapshot });
  return true;
};

export const sendHeartbeats = (core: Core): void => {
  core.heartbeatDue = false;
  core.heartbeatElapsed = 0;
  for (const [id, progress] of core.progress) {
    if (id === core.id) continue;
    // Not beyond what the member is known to have: its log may differ after that.
    const commit = Math.min(progress.match, core.log.committed);
    core.send(id, { kind: "heartbeat", commit, round: core.reads.round });
  }
};

/** The leader counts itself by what is on its own disk, not by what is in its memory. */
const matchOf = (core: Core, id: number): number =>
  id === core.id ? core.log.stable : (core.progress.get(id)?.match ?? 0);

export const advanceCommit = (core: Core): void => {
  const { log } = core;
  if (log.committed === log.lastIndex) return;
  const before = log.committed;
  const index = committedIndex(core.conf.voters, (id) => matchOf(core, id));
  if (!log.commitCounted(index, core.term)) return;
  core.uncommittedBytes -= bytesOf(log.slice(before + 1, log.committed, Number.POSITIVE_INFINITY));
  for (const { context, from } of core.reads.takePostponed()) addRead(core, context, from);
};

/** A read asked by `from`. Before an entry of the own term is committed, the leader doesn't know the commit index (§6.4). */
export const addRead = (core: Core, context: number, from: number): void => {
  if (core.log.term(core.log.committed) !== core.term) {
    core.reads.postpone(context, from);
    return;
  }
  core.reads.add(context, from, core.log.committed);
  core.heartbeatDue = true;
  confirmReads(core);
};

export const confirmReads = (core: Core): void => {
  const { reads } = core;
  if (reads.empty) return;
  const round = committedIndex(core.conf.voters, (id) =>
    id === core.id ? reads.round : (core.progress.get(id)?.round ?? 0),
  );
  for (const { context, from, index } of reads.confirmed(round)) {
    if (from === core.id) core.readStates.push({ context, index });
    else core.send(from, { kind: "read-index-response", context, index });
  }
};

export const bytesOf = (entries: readonly Entry[]): number => entries.reduce((sum, e) => sum + entryBytes(e), 0);
