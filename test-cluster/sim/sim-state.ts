// The replicated state: what the commands make of it, and a hash over all applied entries in order. Equal hashes mean equal
// histories.
import type { Committed, StateMachine } from "#control-plane/log/log.ts";
import { checksum } from "#test-cluster/sim/checksum.ts";
import { type Command, decodeCommand, operationOf } from "#test-cluster/sim/commands.ts";

export type EntryOf = Extract<Committed, { kind: "entry" }>;

export type StateWatch = {
  /** An entry was applied by `who` after the one with index `previous`, and the state is now `hash`. `done`: of a compare-and-set. */
  applied(who: string, entry: EntryOf, previous: number, hash: number, done: boolean | undefined): void;
  /** A snapshot of index `snapshotIndex` was taken over; its last applied entry is `index`. */
  restored(who: string, snapshotIndex: number, index: number, hash: number): void;
};

const CHUNK = 1000;

export class SimState implements StateMachine {
  /** Of the last applied entry with data. */
  index = 0;
  hash = 0;
  #registers: number[] = [];
  #lists: number[][] = [];
  /** Whether compare-and-sets were done, of those applied in this life of the member. */
  #done = new Map<number, boolean>();
  #who: string;
  #watch: StateWatch;

  #wait: () => Promise<void>;

  /** `wait`: what a part of a restore takes. */
  constructor(who: string, watch: StateWatch, wait: () => Promise<void>) {
    this.#who = who;
    this.#watch = watch;
    this.#wait = wait;
  }

  register(key: number): number {
    return this.#registers[key] ?? 0;
  }

  list(key: number): readonly number[] {
    return this.#lists[key] ?? [];
  }

  wasDone(operation: number): boolean | undefined {
    return this.#done.get(operation);
  }

  apply(entries: readonly EntryOf[]): void {
    for (const entry of entries) {
      const previous = this.index;
      this.index = entry.index;
      this.hash = checksum(entry.data, this.hash ^ entry.index);
      const operation = operationOf(entry.data);
      this.#execute(operation, decodeCommand(entry.data));
      this.#watch.applied(this.#who, entry, previous, this.hash, this.#done.get(operation));
    }
  }

  #execute(operation: number, command: Command): void {
    switch (command.kind) {
      case "write":
        this.#registers[command.key] = command.value;
        break;
      case "cas": {
        const done = this.register(command.key) === command.from;
        if (done) this.#registers[command.key] = command.to;
        this.#done.set(operation, done);
        break;
      }
      case "append":
        (this.#lists[command.key] ??= []).push(command.value);
        break;
      case "filler":
    }
  }

  async restore(snapshot: Extract<Committed, { kind: "snapshot" }>): Promise<void> {
    const chunks: Uint8Array[] = [];
    for await (const chunk of snapshot.chunks) {
      await this.#wait();
      chunks.push(chunk);
    }
    const { index, hash, registers, lists } = JSON.parse(Buffer.concat(chunks).toString());
    this.index = index;
    this.hash = hash;
    this.#registers = registers;
    this.#lists = lists;
    this.#watch.restored(this.#who, snapshot.index, this.index, this.hash);
  }

  snapshot(): Iterable<Uint8Array> {
    const { index, hash } = this;
    const all = Buffer.from(JSON.stringify({ index, hash, registers: this.#registers, lists: this.#lists }));
    return Array.from({ length: Math.ceil(all.length / CHUNK) }, (_, i) => all.subarray(i * CHUNK, (i + 1) * CHUNK));
  }
}
