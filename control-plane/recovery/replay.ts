// What a manager's own log comes to, read without a running manager: all of its entries, committed or not.
//
// Not only those that are known to be committed: a manager learns of a commit with the next message of the leader, so the
// newest entries that were acknowledged to clients may be in its log as uncommitted ones. Whoever wins an election commits
// all of its log as well (Raft §5.4.2); a recovery is an election in which nobody else votes. What was never acknowledged
// may come to be done that way, as it may after every election.
import { assert } from "#base/assert.ts";
import { TswarmError } from "#base/errors.ts";
import { decodeConfChange } from "#control-plane/raft/conf-change.ts";
import type { Disk } from "#control-plane/raft-host/disk.ts";
import type { MemberFiles } from "#control-plane/raft-host/member-files.ts";
import { readSnapshot } from "#control-plane/raft-host/snapshot-file.ts";
import { createState } from "#control-plane/state/state.ts";
import type { State } from "#control-plane/state/types.ts";
import { Command } from "#proto/gen/store.ts";

export type Replayed = {
  readonly state: State;
  /** Of the last entry. */
  readonly index: number;
  /** The highest that this member has seen. */
  readonly term: number;
  /** Every raft id that is or was a member's, as far as this log tells. */
  readonly raftIds: ReadonlySet<number>;
};

export const replay = async (disk: Disk, files: MemberFiles): Promise<Replayed> => {
  const { restart, snapshot, raftId } = files;
  const state = createState();
  const raftIds = new Set([raftId, ...files.peers.map((p) => p.raftId)]);
  if (snapshot !== null) {
    const { index, conf } = snapshot.header.meta;
    for (const id of [...conf.voters, ...conf.learners, ...conf.removed]) raftIds.add(id);
    const chunks: Uint8Array[] = [];
    for await (const chunk of readSnapshot(disk, snapshot.file, files.keys)) chunks.push(chunk);
    state.restore(index, chunks);
  }
  let index = snapshot?.header.meta.index ?? 0;
  for (const entry of restart.entries) {
    assert(entry.index === index + 1, `entry ${entry.index} follows ${index}`);
    index = entry.index;
    if (entry.type === "conf") raftIds.add(decodeConfChange(entry.data).id);
    else if (entry.data.length > 0) state.apply(index, Command.decode(entry.data));
  }
  const { term, commit } = restart.hardState ?? { term: 0, commit: 0 };
  if (index < commit)
    throw new TswarmError(
      "internal",
      `the log ends at ${index}, but ${commit} was committed: it is damaged. Restore a backup instead.`,
    );
  return { state, index, term: Math.max(term, restart.entries.at(-1)?.term ?? 0), raftIds };
};
