// The replicated state: a hash over all applied entries in order. Equal hashes mean equal histories.
import { crc32 } from "node:zlib";
import type { Committed, StateMachine } from "#control-plane/log/log.ts";

type EntryOf = Extract<Committed, { kind: "entry" }>;

export type StateWatch = {
  /** An entry was applied by `who` after the one with index `previous`, and the state is now `hash`. */
  applied(who: string, entry: EntryOf, previous: number, hash: number): void;
  /** A snapshot of index `snapshotIndex` was taken over; its last applied entry is `index`. */
  restored(who: string, snapshotIndex: number, index: number, hash: number): void;
};

const HEAD = 16;

export class SimState implements StateMachine {
  /** Of the last applied entry with data. */
  index = 0;
  hash = 0;
  #who: string;
  #watch: StateWatch;

  constructor(who: string, watch: StateWatch) {
    this.#who = who;
    this.#watch = watch;
  }

  apply(entries: readonly EntryOf[]): void {
    for (const entry of entries) {
      const previous = this.index;
      this.index = entry.index;
      this.hash = crc32(entry.data, (this.hash ^ entry.index) >>> 0);
      this.#watch.applied(this.#who, entry, previous, this.hash);
    }
  }

  async restore(snapshot: Extract<Committed, { kind: "snapshot" }>): Promise<void> {
    const chunks: Uint8Array[] = [];
    for await (const chunk of snapshot.chunks) chunks.push(chunk);
    const bytes = Buffer.concat(chunks);
    this.index = bytes.readDoubleLE(0);
    this.hash = bytes.readDoubleLE(8);
    this.#watch.restored(this.#who, snapshot.index, this.index, this.hash);
  }

  /** The hash, and filler that grows with the history, so that files have several chunks and pieces. */
  snapshot(): Iterable<Uint8Array> {
    const head = Buffer.alloc(HEAD);
    head.writeDoubleLE(this.index, 0);
    head.writeDoubleLE(this.hash, 8);
    const filler = Array.from({ length: Math.min(6, this.index >> 5) }, (_, i) => Buffer.alloc(700, i + 1));
    return [head, ...filler];
  }
}
