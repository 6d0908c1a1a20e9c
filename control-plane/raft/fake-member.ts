// A member for tests: a core with a disk of its own that loses what was not synced, and a state machine that is the list of
// applied entries.
import { assert } from "#base/assert.ts";
import type { Random } from "#base/random.ts";
import { decodeConfChange } from "#control-plane/raft/conf-change.ts";
import { createRaftNode, type RaftNode } from "#control-plane/raft/node.ts";
import type { ConfState, Entry, HardState, Message, Ready, SnapshotMeta } from "#control-plane/raft/types.ts";

type Disk = { hardState: HardState | null; snapshot: (SnapshotMeta & { state: string[] }) | null; entries: Entry[] };

export const bootstrapDisk = (conf: ConfState): Disk => ({
  hardState: { term: 1, vote: 0, commit: 1 },
  snapshot: { index: 1, term: 1, conf, state: [] },
  entries: [],
});

export class FakeMember {
  readonly id: number;
  node: RaftNode;
  state: string[] = [];
  conf: ConfState;
  reads: { context: number; index: number }[] = [];
  #random: Random;
  #disk: Disk;
  #unsynced: Ready[] = [];
  /** States of snapshots that travel, by the meta's index; shared by all members of a test. */
  #snapshots: Map<number, string[]>;

  constructor(id: number, disk: Disk, random: Random, snapshots: Map<number, string[]>) {
    this.id = id;
    this.#disk = disk;
    this.#random = random;
    this.#snapshots = snapshots;
    this.conf = disk.snapshot?.conf ?? { voters: [], learners: [], removed: [] };
    this.node = this.#start();
  }

  #start(): RaftNode {
    this.state = [...(this.#disk.snapshot?.state ?? [])];
    this.conf = this.#disk.snapshot?.conf ?? { voters: [], learners: [], removed: [] };
    const { hardState, snapshot, entries } = this.#disk;
    return createRaftNode({
      id: this.id,
      electionTicks: 10,
      heartbeatTicks: 1,
      maxMessageBytes: 200,
      inflight: { messages: 4, bytes: 2000 },
      maxUncommittedBytes: 4000,
      maxCommittedBytes: 1000,
      random: this.#random,
      restart: { hardState, snapshot, entries: [...entries] },
    });
  }

  /** Loses what was not synced, and starts again. */
  crash(): void {
    this.#unsynced = [];
    this.reads = [];
    this.node = this.#start();
  }

  /** One Ready: queues its writes, applies, returns it (its `messages` may be sent). */
  process(): Ready | null {
    const ready = this.node.ready();
    if (ready === null) return null;
    this.#unsynced.push(ready);
    if (ready.snapshot !== null) {
      this.state = [...this.#snapshots.get(ready.snapshot.index)!];
      this.conf = ready.snapshot.conf;
      this.node.applied(ready.snapshot.index);
    }
    for (const entry of ready.committed) {
      this.state.push(`${entry.index}:${entry.term}:${new TextDecoder().decode(entry.data)}`);
      if (entry.type === "conf") this.conf = this.node.applyConfChange(decodeConfChange(entry.data));
      this.node.applied(entry.index);
    }
    this.reads.push(...ready.readStates);
    return ready;
  }

  get hasUnsynced(): boolean {
    return this.#unsynced.length > 0;
  }

  /** The oldest Ready reaches the disk; returns what may be sent now. */
  sync(): readonly Message[] {
    const ready = this.#unsynced.shift();
    if (ready === undefined) return [];
    const disk = this.#disk;
    if (ready.snapshot !== null) {
      disk.snapshot = { ...ready.snapshot, state: this.#snapshots.get(ready.snapshot.index)! };
      disk.entries = [];
    }
    for (const entry of ready.entries) {
      const at = entry.index - (disk.snapshot?.index ?? 0) - 1;
      if (at < 0) continue;
      assert(at <= disk.entries.length, `gap on the disk of ${this.id} before ${entry.index}`);
      disk.entries.length = at;
      disk.entries.push(entry);
    }
    if (ready.hardState !== null) disk.hardState = ready.hardState;
    this.node.stabilized(ready.token);
    return ready.afterSync;
  }

  /** Takes a snapshot of what is applied and on disk, and keeps `keep` entries for slow members. */
  takeSnapshot(keep: number): void {
    const { applied } = this.node.status();
    const disk = this.#disk;
    const base = disk.snapshot?.index ?? 0;
    const entry = disk.entries[applied - base - 1];
    if (entry === undefined) return;
    const meta: SnapshotMeta = { index: applied, term: entry.term, conf: this.conf };
    this.#snapshots.set(applied, [...this.state]);
    disk.snapshot = { ...meta, state: [...this.state] };
    disk.entries = disk.entries.slice(applied - base);
    this.node.snapshotted(meta);
    this.node.compact(applied - keep);
  }

  /** The terms of the entries on disk, and where they begin. */
  get durableTerms(): string {
    const { base, entries } = this.durable;
    return `${base + 1}.. terms ${entries.map((e) => e.term).join(" ")}`.trimEnd();
  }

  /** What is on disk, for checks. */
  get durable(): { readonly base: number; readonly entries: readonly Entry[] } {
    return { base: this.#disk.snapshot?.index ?? 0, entries: this.#disk.entries };
  }
}
