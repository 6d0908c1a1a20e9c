import { assert } from "#base/assert.ts";
import type { Command } from "#proto/gen/store.ts";
import { applyCommand } from "./apply.ts";
import { type Checkpoint, Checkpoints, Digest } from "./digest.ts";
import { checkFormat, SNAPSHOT_FORMAT } from "./format.ts";
import { History } from "./history.ts";
import { TableReader } from "./read.ts";
import { captureObjects, encodeSnapshot, SnapshotReader } from "./snapshot.ts";
import { TableSet } from "./tables.ts";
import { Transaction } from "./transaction.ts";
import type { ApplyResult, Restoring, State, StateBatch, Tx } from "./types.ts";

/** So many ids of applied commands are remembered: a proposer that repeats itself does so within seconds. */
const REMEMBERED_COMMANDS = 10_000;

class MemoryState extends TableReader implements State {
  #index = 0;
  #time = 0;
  #recent = new Set<string>();
  #history = new History(0);
  #digest = new Digest();
  #checkpoints = new Checkpoints(0);
  readonly #listeners = new Set<(batch: StateBatch) => void>();

  constructor() {
    super(new TableSet());
  }

  get index(): number {
    return this.#index;
  }

  begin(): Tx {
    return new Transaction(this.tables);
  }

  apply(index: number, command: Command): ApplyResult {
    assert(index > this.#index, `command ${index} comes after ${this.#index}`);
    checkFormat(index, command);
    this.#checkpoints.passing(index, this.#digest);
    this.#index = index;
    this.#time = command.time;
    if (this.#recent.has(command.id)) return { ok: true };
    const { result, events } = applyCommand(this.tables, index, command);
    for (const { table, action, object, previous } of events) {
      if (previous !== undefined) this.#digest.remove(table, previous.id, previous.meta?.version ?? 0);
      if (action !== "remove") this.#digest.add(table, object.id, object.meta?.version ?? 0);
    }
    if (result.ok) this.#remember(command.id);
    if (events.length > 0) {
      const batch = { index, events, restored: false };
      this.#history.add(batch);
      this.#tell(batch);
    }
    return result;
  }

  watch(listener: (batch: StateBatch) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  since(index: number): readonly StateBatch[] | undefined {
    return this.#history.since(index);
  }

  digests(): readonly Checkpoint[] {
    return this.#checkpoints.list();
  }

  snapshot(): Iterable<Uint8Array> {
    const captured = captureObjects(this.tables);
    const header = {
      format: SNAPSHOT_FORMAT,
      index: this.#index,
      time: this.#time,
      objects: captured.reduce((sum, { objects }) => sum + objects.length, 0),
      recentCommandIds: [...this.#recent],
    };
    return encodeSnapshot(header, captured);
  }

  restore(index: number, chunks: Iterable<Uint8Array>): void {
    const restoring = this.beginRestore(index);
    for (const chunk of chunks) restoring.add(chunk);
    restoring.finish();
  }

  beginRestore(index: number): Restoring {
    const reader = new SnapshotReader();
    return {
      add: (chunk) => reader.add(chunk),
      finish: () => {
        const { header, tables } = reader.finish();
        this.tables = tables;
        this.#index = index;
        this.#time = header.time;
        this.#recent = new Set(header.recentCommandIds);
        this.#history = new History(index);
        this.#digest = digestOf(tables);
        this.#checkpoints = new Checkpoints(index);
        this.#tell({ index, events: [], restored: true });
      },
    };
  }

  #remember(id: string): void {
    if (id === "") return;
    this.#recent.add(id);
    if (this.#recent.size <= REMEMBERED_COMMANDS) return;
    const oldest = this.#recent.values().next().value;
    if (oldest !== undefined) this.#recent.delete(oldest);
  }

  #tell(batch: StateBatch): void {
    for (const listener of [...this.#listeners]) listener(batch);
  }
}

const digestOf = (tables: TableSet): Digest => {
  const digest = new Digest();
  for (const [table, objects] of tables.objects)
    for (const { id, meta } of objects.values()) digest.add(table, id, meta?.version ?? 0);
  return digest;
};

/** An empty state, before the first command of the log. */
export const createState = (): State => new MemoryState();
