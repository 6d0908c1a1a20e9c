// The log in memory after the last compaction, and three cursors into it:
//   handed  last entry given to the host for writing        stable  last entry known to be on this member's disk
//   applying last entry given to the host for applying      applied last entry the host has applied
// Writes end later than they begin, and an entry may be overwritten in between (ABA): each hand-out leaves a claim
// "stable up to here", and overwriting lowers the claims still open, so that a late completion never counts for an entry
// it did not write.
import { assert } from "#base/assert.ts";
import type { Entry, HardState, Restart, SnapshotMeta } from "#control-plane/raft/types.ts";

/** What an entry counts for in limits: its data and a bit for the rest. */
export const entryBytes = (entry: Entry): number => entry.data.length + 24;

export class RaftLog {
  /** The last index that is not in `entries` any more, and its term. */
  #offset: number;
  #offsetTerm: number;
  #entries: Entry[];
  #claims: { token: number; index: number }[] = [];
  #handed: number;
  /** A received snapshot which the next Ready hands out. */
  #pendingSnapshot: SnapshotMeta | null = null;
  committed: number;
  applying: number;
  applied: number;
  stable: number;

  constructor({ snapshot, entries, hardState }: Restart) {
    this.#offset = snapshot?.index ?? 0;
    this.#offsetTerm = snapshot?.term ?? 0;
    this.#entries = [...entries];
    entries.forEach((e, i) => {
      assert(e.index === this.#offset + 1 + i, `entry ${e.index} out of order after ${this.#offset}`);
    });
    this.stable = this.#handed = this.lastIndex;
    this.applying = this.applied = this.#offset;
    this.committed = Math.min(Math.max(this.#offset, commitOf(hardState)), this.lastIndex);
  }

  get firstIndex(): number {
    return this.#offset + 1;
  }

  get lastIndex(): number {
    return this.#offset + this.#entries.length;
  }

  get lastTerm(): number {
    return this.#entries.at(-1)?.term ?? this.#offsetTerm;
  }

  /** The term of the entry at `index`; undefined when it is compacted away or not there yet. */
  term(index: number): number | undefined {
    if (index === this.#offset) return this.#offsetTerm;
    return this.#entries[index - this.#offset - 1]?.term;
  }

  at(index: number): Entry | undefined {
    return this.#entries[index - this.#offset - 1];
  }

  /** Entries from `from` to `to` inclusive, cut at `maxBytes` but at least one. */
  slice(from: number, to: number, maxBytes: number): Entry[] {
    const start = from - this.#offset - 1;
    const end = Math.min(to, this.lastIndex) - this.#offset;
    let bytes = 0;
    let stop = start;
    while (stop < end) {
      bytes += entryBytes(this.#entries[stop]!);
      if (bytes > maxBytes && stop > start) break;
      stop++;
    }
    return this.#entries.slice(start, stop);
  }

  /** The leader's own new entries. */
  append(entries: readonly Entry[]): void {
    for (const entry of entries) {
      assert(entry.index === this.lastIndex + 1, `append of ${entry.index} after ${this.lastIndex}`);
      this.#entries.push(entry);
    }
  }

  /**
   * A leader's entries after (prevIndex, prevTerm). Returns the last index that now matches the leader's log, undefined when
   * the previous entry does not match. Only a conflict truncates: an old, shorter message must not.
   */
  acceptAppend(prevIndex: number, prevTerm: number, entries: readonly Entry[]): number | undefined {
    if (this.term(prevIndex) !== prevTerm) return undefined;
    const fresh = entries.findIndex((e) => this.term(e.index) !== e.term);
    const conflict = fresh < 0 ? undefined : entries[fresh];
    if (conflict !== undefined) {
      assert(conflict.index > this.committed, `entry ${conflict.index} conflicts with a committed one`);
      if (conflict.index <= this.lastIndex) this.#truncateFrom(conflict.index);
      this.append(entries.slice(fresh));
    }
    return prevIndex + entries.length;
  }

  #truncateFrom(index: number): void {
    this.#entries.length = index - this.#offset - 1;
    this.stable = Math.min(this.stable, index - 1);
    this.#handed = Math.min(this.#handed, index - 1);
    for (const claim of this.#claims) claim.index = Math.min(claim.index, index - 1);
  }

  /** The largest index <= `index` whose term is <= `term` or unknown, and its term (0: unknown). Skips whole terms on conflict. */
  findConflictByTerm(index: number, term: number): { index: number; term: number } {
    let at = index;
    for (; at > 0; at--) {
      const own = this.term(at);
      if (own === undefined) return { index: at, term: 0 };
      if (own <= term) return { index: at, term: own };
    }
    return { index: 0, term: 0 };
  }

  /** §3.6.1: last term, then length. */
  isUpToDate(lastIndex: number, lastTerm: number): boolean {
    return lastTerm > this.lastTerm || (lastTerm === this.lastTerm && lastIndex >= this.lastIndex);
  }

  /** §3.6.2: by counting, only entries of the leader's own term are committed. Returns whether the commit index moved. */
  commitCounted(index: number, term: number): boolean {
    if (index <= this.committed || this.term(index) !== term) return false;
    this.committed = index;
    return true;
  }

  commitTo(index: number): void {
    if (index <= this.committed) return;
    assert(index <= this.lastIndex, `commit ${index} is beyond the last entry ${this.lastIndex}`);
    this.committed = index;
  }

  appliedTo(index: number): void {
    assert(index <= this.applying, `applied ${index} was never handed out (${this.applying})`);
    this.applied = Math.max(this.applied, index);
  }

  /** A received snapshot: the whole log goes, also what lies beyond the snapshot. */
  restore(snapshot: SnapshotMeta): void {
    this.#offset = snapshot.index;
    this.#offsetTerm = snapshot.term;
    this.#entries = [];
    this.committed = this.applying = this.#handed = snapshot.index;
    // Nothing counts as stable before the snapshot itself is.
    this.stable = Math.min(this.stable, snapshot.index - 1);
    for (const claim of this.#claims) claim.index = 0;
    this.#pendingSnapshot = snapshot;
  }

  /** The first of the entries up to `last` that have at most `maxBytes` together. */
  startOfTail(last: number, maxBytes: number): number {
    let start = last + 1;
    for (let bytes = 0; start > this.firstIndex; start--) {
      bytes += entryBytes(this.at(start - 1)!);
      if (bytes > maxBytes) break;
    }
    return start;
  }

  compact(index: number): void {
    assert(index <= this.applied, `compaction to ${index} beyond the applied ${this.applied}`);
    if (index <= this.#offset) return;
    this.#offsetTerm = this.term(index)!;
    this.#entries.splice(0, index - this.#offset);
    this.#offset = index;
  }

  get hasUnhanded(): boolean {
    return this.#handed < this.lastIndex || this.#pendingSnapshot !== null;
  }

  /** What has to be written next; leaves the claim for `stabilized(token)`. */
  takeUnstable(token: number): { entries: Entry[]; snapshot: SnapshotMeta | null } {
    const snapshot = this.#pendingSnapshot;
    const entries = this.#entries.slice(this.#handed - this.#offset);
    this.#pendingSnapshot = null;
    this.#handed = this.lastIndex;
    if (snapshot !== null || entries.length > 0) this.#claims.push({ token, index: this.lastIndex });
    return { entries, snapshot };
  }

  stabilized(token: number): void {
    while (this.#claims.length > 0 && this.#claims[0]!.token <= token) {
      this.stable = Math.max(this.stable, this.#claims.shift()!.index);
    }
  }

  get hasCommitted(): boolean {
    return Math.min(this.committed, this.stable) > this.applying;
  }

  /** Committed and on this disk, not yet handed out. */
  takeCommitted(maxBytes: number): Entry[] {
    const to = Math.min(this.committed, this.stable);
    if (to <= this.applying) return [];
    const entries = this.slice(this.applying + 1, to, maxBytes);
    this.applying += entries.length;
    return entries;
  }

  /** Whether a change of members is committed but not applied here. */
  get hasUnappliedConf(): boolean {
    for (let i = Math.max(this.applied, this.#offset) + 1; i <= this.committed; i++) {
      if (this.at(i)?.type === "conf") return true;
    }
    return false;
  }
}

const commitOf = (hardState: HardState | null): number => hardState?.commit ?? 0;
