// A snapshot is one stream of length-delimited SnapshotChunk messages: a header, then objects. How the stream is cut into
// byte pieces does not matter to the reader; the writer makes pieces of at most 1 MiB.
import { BinaryReader, BinaryWriter } from "@bufbuild/protobuf/wire";
import { reading, TswarmError } from "#base/errors.ts";
import { SnapshotChunk, type SnapshotHeader } from "#proto/gen/store.ts";
import { StoreObject } from "#proto/gen/types.ts";
import { checkSnapshotFormat, SNAPSHOT_FORMAT } from "./format.ts";
import { TABLE_NAMES, TableSet, toStoreObject } from "./tables.ts";
import type { TableName, Tables } from "./types.ts";

export const MAX_PIECE = 1 << 20;
/** Objects are put together up to about this size. It is encoded at once, and a manager has other work meanwhile. */
const BATCH_BYTES = MAX_PIECE >> 3;
// Keys of the fields: number and wire type. Objects are encoded once, to know their size, and then put together by hand.
const CHUNK_OBJECTS = (2 << 3) | 2;
const BATCH_OBJECTS = (1 << 3) | 2;

const delimited = (message: BinaryWriter): Uint8Array => new BinaryWriter().bytes(message.finish()).finish();

const varintBytes = (value: number): number => (value < 1 << 7 ? 1 : value < 1 << 14 ? 2 : value < 1 << 21 ? 3 : 4);

/** Returns the place behind it. `value` is below 2^28. */
const putVarint = (target: Uint8Array, at: number, value: number): number => {
  let rest = value;
  let next = at;
  for (; rest >= 128; rest >>>= 7) target[next++] = (rest & 127) | 128;
  target[next++] = rest;
  return next;
};

/** Put together in one buffer of the right size: a writer's arrays would be most of what the collector has to look at. */
const batchOf = (objects: readonly Uint8Array[]): Uint8Array => {
  const inside = objects.reduce((sum, { length }) => sum + 1 + varintBytes(length) + length, 0);
  const whole = 1 + varintBytes(inside) + inside;
  const bytes = new Uint8Array(varintBytes(whole) + whole);
  let at = putVarint(bytes, 0, whole);
  at = putVarint(bytes, putVarint(bytes, at, CHUNK_OBJECTS), inside);
  for (const object of objects) {
    at = putVarint(bytes, putVarint(bytes, at, BATCH_OBJECTS), object.length);
    bytes.set(object, at);
    at += object.length;
  }
  return bytes;
};

function* pieces(bytes: Uint8Array): Generator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += MAX_PIECE) yield bytes.subarray(at, at + MAX_PIECE);
}

export type CapturedTable = { readonly table: TableName; readonly objects: readonly Tables[TableName][] };

/** The objects of all tables as they are now; objects are immutable, so references are enough. */
export const captureObjects = (tables: TableSet): CapturedTable[] =>
  TABLE_NAMES.map((table) => ({ table, objects: [...tables.objects.get(table)!.values()] }));

/** Header and objects as byte pieces of at most 1 MiB, encoded as they are asked for. */
export function* encodeSnapshot(header: SnapshotHeader, captured: readonly CapturedTable[]): Generator<Uint8Array> {
  yield* pieces(delimited(SnapshotChunk.encode({ chunk: { $case: "header", value: header } })));
  let batch: Uint8Array[] = [];
  let size = 0;
  // One for all: it keeps the room that it has grown to.
  const writer = new BinaryWriter();
  for (const { table, objects } of captured) {
    for (const object of objects) {
      const bytes = StoreObject.encode(toStoreObject(table, object), writer).finish();
      batch.push(bytes);
      size += bytes.length;
      if (size < BATCH_BYTES) continue;
      yield* pieces(batchOf(batch));
      batch = [];
      size = 0;
    }
  }
  if (batch.length > 0) yield* pieces(batchOf(batch));
}

const corrupt = (why: string): TswarmError =>
  new TswarmError("internal", `the snapshot of the state is damaged: ${why}`);

/** Reads a snapshot piece by piece. Throws TswarmError `internal` when it is damaged, `unsupported` when its format is unknown. */
export class SnapshotReader {
  #tables = new TableSet();
  #header: SnapshotHeader | undefined;
  #count = 0;
  /** The beginning of a message that goes on in the next piece. */
  #rest = new Uint8Array(0);

  add(piece: Uint8Array): void {
    const bytes = new Uint8Array(this.#rest.length + piece.length);
    bytes.set(this.#rest);
    bytes.set(piece, this.#rest.length);
    let at = 0;
    for (;;) {
      let length = 0;
      let header = 0;
      while (at + header < bytes.length && bytes[at + header]! >= 128) header++;
      if (at + header >= bytes.length) break;
      for (let i = header; i >= 0; i--) length = length * 128 + (bytes[at + i]! & 127);
      const start = at + header + 1;
      if (start + length > bytes.length) break;
      const message = new BinaryReader(bytes.subarray(start, start + length));
      this.#take(reading("internal", "the snapshot of the state", () => SnapshotChunk.decode(message)));
      at = start + length;
    }
    this.#rest = bytes.slice(at);
  }

  #take({ chunk }: SnapshotChunk): void {
    if (chunk === undefined) throw corrupt("it has a message of no kind");
    if (chunk.$case === "header") {
      this.#header = chunk.value;
      checkSnapshotFormat(this.#header.format);
      if (this.#header.format !== SNAPSHOT_FORMAT) throw corrupt(`it has format ${this.#header.format}`);
      return;
    }
    if (this.#header === undefined) throw corrupt("it has no header");
    for (const { object } of chunk.value.objects) {
      if (object === undefined) throw corrupt("it has an object of no kind");
      this.#tables.objects.get(object.$case)!.set(object.value.id, object.value);
      this.#tables.index(object.$case, object.value);
      this.#count++;
    }
  }

  /** All pieces were added. */
  finish(): { readonly header: SnapshotHeader; readonly tables: TableSet } {
    if (this.#rest.length > 0) throw corrupt("it ends in the middle of a message");
    const header = this.#header;
    if (header === undefined) throw corrupt("it has no header");
    if (this.#count !== header.objects) throw corrupt(`it has ${this.#count} of ${header.objects} objects`);
    return { header, tables: this.#tables };
  }
}
