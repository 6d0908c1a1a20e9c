// testdata/format-1 was written by the first version: commands as they lie in logs, a snapshot, and the objects they lead to.
// Later code must read them to the same objects, or managers of two versions would not agree during an upgrade.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "chai";
import { TswarmError } from "#base/errors.ts";
import { Command, SnapshotChunk } from "#proto/gen/store.ts";
import { COMMAND_FORMAT, SNAPSHOT_FORMAT } from "./format.ts";
import { createState } from "./state.ts";
import { TABLE_NAMES } from "./tables.ts";
import type { ReadTx, State, TableName, Tables } from "./types.ts";

const read = (name: string): Buffer => readFileSync(join(import.meta.dirname, "testdata/format-1", name));
const commands = read("commands.txt")
  .toString()
  .trim()
  .split("\n")
  .map((line) => {
    const [index, outcome, hex] = line.split(" ");
    return { index: Number(index), ok: outcome === "applied", data: Buffer.from(hex!, "hex") };
  });
type Dump = { index: number; snapshotIndex: number; tables: { table: TableName; objects: object[] }[] };
const expected: Dump = JSON.parse(read("state.json").toString());

/** Bytes as the dump writes them; JSON has made them a list by the time it asks. */
const plain = (_: string, value: unknown): unknown => {
  const { type, data } = (value ?? {}) as { type?: unknown; data?: unknown };
  return type === "Buffer" ? { hex: Buffer.from(data as number[]).toString("hex") } : value;
};
const dump = (state: ReadTx): Dump["tables"] =>
  TABLE_NAMES.map((table) => {
    const objects = [...(state.all(table) as Iterable<Tables[TableName]>)].sort((a, b) => (a.id < b.id ? -1 : 1));
    return { table, objects: JSON.parse(JSON.stringify(objects, plain)) };
  });

/** Fields that were added since have their empty value, which the dump of then does not name. */
const containing = (found: unknown, wanted: unknown, at: string): void => {
  if (wanted === null || typeof wanted !== "object") {
    expect(found, at).to.equal(wanted);
    return;
  }
  if (Array.isArray(wanted)) expect((found as unknown[]).length, at).to.equal(wanted.length);
  for (const [key, value] of Object.entries(wanted))
    containing((found as Record<string, unknown>)[key], value, `${at}.${key}`);
};

const replay = (state: State, from: number): void => {
  for (const { index, ok, data } of commands)
    if (index > from) expect(state.apply(index, Command.decode(data)).ok, `command ${index}`).to.equal(ok);
};

describe("state, what the first version wrote", () => {
  it("its commands lead to its objects, and are refused where they were", () => {
    const state = createState();
    replay(state, 0);
    expect(state.index).to.equal(expected.index);
    containing(dump(state), expected.tables, "state");
  });

  it("its snapshot and the commands behind it lead to them too", () => {
    const state = createState();
    state.restore(expected.snapshotIndex, [read("snapshot.bin")]);
    replay(state, expected.snapshotIndex);
    containing(dump(state), expected.tables, "state");
  });
});

describe("state, what a newer version wrote", () => {
  const refusal = (run: () => void): TswarmError => {
    try {
      run();
    } catch (error) {
      if (error instanceof TswarmError) return error;
      throw error;
    }
    throw new Error("it was accepted");
  };

  it("refuses its commands, and changes nothing", () => {
    const state = createState();
    const { code, message } = refusal(() =>
      state.apply(1, { id: "a", time: 1, changes: [], format: COMMAND_FORMAT + 1 }),
    );
    expect(code).to.equal("unsupported");
    expect(message).to.match(/newer version.*upgrade this manager/);
    expect(state.index).to.equal(0);
  });

  it("refuses its snapshots", () => {
    const chunk = SnapshotChunk.encode(
      SnapshotChunk.fromPartial({ chunk: { $case: "header", value: { format: SNAPSHOT_FORMAT + 1 } } }),
    ).finish();
    const { code, message } = refusal(() => createState().restore(1, [Buffer.from([chunk.length]), chunk]));
    expect(code).to.equal("unsupported");
    expect(message).to.match(/newer version.*upgrade this manager/);
  });
});
