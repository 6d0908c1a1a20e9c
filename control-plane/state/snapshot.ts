// A snapshot is one stream of length-delimited SnapshotChunk messages: a header, then objects. How the stream is cut into
// byte pieces does not matter to the reader; the writer makes pieces of at most 1 MiB.
import { BinaryReader, BinaryWriter } from "@bufbuild/protobuf/wire";
import { TswarmError } from "#base/errors.ts";
import { SnapshotChunk, type SnapshotHeader } from "#proto/gen/store.ts";
import { StoreObject } from "#proto/gen/types.ts";
import { checkSnapshotFormat, SNAPSHOT_FORMAT } from "./format.ts";
import { TABLE_NAMES, TableSet, toStoreObject } from "./tables.ts";

export const MAX_PIECE = 1 << 20;
/** Objects are put together up to about this size: a piece is encoded between two turns of the log, which must not wait long. */
const BATCH_BYTES = 64 << 10;

/** `writer` keeps its memory from call to call. */
const delimited = (chunk: SnapshotChunk, writer = new BinaryWriter()): Uint8Array => {
  const body = SnapshotChunk.encode(chunk, writer).finish();
  const length: number[] = [];
  for (let rest = body.length; ; rest = Math.floor(rest / 128)) {
    length.push(rest < 128 ? rest : (rest % 128) + 128);
    if (rest < 128) break;
  }
  const bytes = new Uint8Array(length.length + body.length);
  bytes.set(length);
  bytes.set(body, length.length);
  return bytes;
};

function* pieces(bytes: Uint8Array): Generator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += MAX_PIECE) yield bytes.subarray(at, at + MAX_PIECE);
}

/** The objects of all tables as they are now; objects are immutable, so references are enough. */
export const captureObjects = (tables: TableSet): StoreObject[] => {
  const objects: StoreObject[] = [];
  for (const table of TABLE_NAMES)
    for (const object of tables.objects.get(table)!.values()) objects.push(toStoreObject(table, object));
  return objects;
};

/** Header and objects as byte pieces of at most 1 MiB, encoded as they are asked for. */
export function* encodeSnapshot(header: SnapshotHeader, objects: readonly StoreObject[]): Generator<Uint8Array> {
  yield* pieces(delimited({ chunk: { $case: "header", value: header } }));
  let batch: StoreObject[] = [];
  let size = 0;
  const writer = new BinaryWriter();
  for (const object of objects) {
    batch.push(object);
    size += StoreObject.encode(object, writer).finish().length;
    if (size < BATCH_BYTES) continue;
    yield* pieces(delimited({ chunk: { $case: "objects", value: { objects: batch } } }, writer));
    batch = [];
    size = 0;
  }
  if (batch.length > 0) yield* pieces(delimited({ chunk: { $case: "objects", value: { objects: batch } } }));
}

const corrupt = (why: string): TswarmError =>
  new TswarmError("internal", `the snapshot of the state is damaged: ${why}`);

function* messages(input: Iterable<Uint8Array>): Generator<SnapshotChunk> {
  let rest = new Uint8Array(0);
  for (const piece of input) {
    const bytes = new Uint8Array(rest.length + piece.length);
    bytes.set(rest);
    bytes.set(piece, rest.length);
    let at = 0;
    for (;;) {
      let length = 0;
      let header = 0;
      while (at + header < bytes.length && bytes[at + header]! >= 128) header++;
      if (at + header >= bytes.length) break;
      for (let i = header; i >= 0; i--) length = length * 128 + (bytes[at + i]! & 127);
      const start = at + header + 1;
      if (start + length > bytes.length) break;
      yield SnapshotChunk.decode(new BinaryReader(bytes.subarray(start, start + length)));
      at = start + length;
    }
    rest = bytes.slice(at);
  }
  if (rest.length > 0) throw corrupt("it ends in the middle of a message");
}

/** Reads a whole snapshot. Throws TswarmError `internal` when it is damaged, `unsupported` when its format is unknown. */
export const decodeSnapshot = (input: Iterable<Uint8Array>): { header: SnapshotHeader; tables: TableSet } => {
  const tables = new TableSet();
  let header: SnapshotHeader | undefined;
  let count = 0;
  for (const { chunk } of messages(input)) {
    if (chunk === undefined) throw corrupt("it has a message of no kind");
    if (chunk.$case === "header") {
      header = chunk.value;
      checkSnapshotFormat(header.format);
      if (header.format !== SNAPSHOT_FORMAT) throw corrupt(`it has format ${header.format}`);
      continue;
    }
    if (header === undefined) throw corrupt("it has no header");
    for (const { object } of chunk.value.objects) {
      if (object === undefined) throw corrupt("it has an object of no kind");
      tables.objects.get(object.$case)!.set(object.value.id, object.value);
      tables.index(object.$case, object.value);
      count++;
    }
  }
  if (header === undefined) throw corrupt("it has no header");
  if (count !== header.objects) throw corrupt(`it has ${count} of ${header.objects} objects`);
  return { header, tables };
};
