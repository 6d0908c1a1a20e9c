// Snapshots on disk: `<index>-<term>.snap`. Written beside as `.tmp`, synced, renamed; the newest two stay.
//
//   "TSWSNAP1", u32 header length, u32 crc of the header, header (meta, cluster, peers), then pieces: u32 length, u32 crc,
//   data; a piece of length 0 whose crc field is the crc of all data ends the file.
import path from "node:path";
import { crc32 } from "node:zlib";
import { TswarmError } from "#base/errors.ts";
import type { SnapshotMeta } from "#control-plane/raft/types.ts";
import { ByteReader, ByteWriter } from "#control-plane/raft-host/byte-codec.ts";
import type { Disk } from "#control-plane/raft-host/disk.ts";
import { readConf, writeConf } from "#control-plane/raft-host/message-codec.ts";

export type SnapshotHeader = {
  readonly clusterId: string;
  readonly meta: SnapshotMeta;
  /** The members' names and addresses as the host encodes them. */
  readonly peers: Uint8Array;
};

const MAGIC = Buffer.from("TSWSNAP1");
const MAX_PIECE = 64 << 20;

export const snapshotName = (meta: SnapshotMeta): string =>
  `${meta.index.toString(16).padStart(16, "0")}-${meta.term.toString(16).padStart(8, "0")}.snap`;

const lengthAndCrc = (length: number, crc: number): Buffer => {
  const b = Buffer.alloc(8);
  b.writeUInt32LE(length, 0);
  b.writeUInt32LE(crc, 4);
  return b;
};

const headerBytes = ({ clusterId, meta, peers }: SnapshotHeader): Buffer => {
  const w = new ByteWriter();
  w.bytes(Buffer.from(clusterId));
  w.varint(meta.index);
  w.varint(meta.term);
  writeConf(w, meta.conf);
  w.bytes(peers);
  const header = w.done();
  return Buffer.concat([MAGIC, lengthAndCrc(header.length, crc32(header)), header]);
};

const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Writes a snapshot, one chunk for each turn of the event loop. The file has its name when this resolves. */
export const writeSnapshot = async (
  disk: Disk,
  dir: string,
  header: SnapshotHeader,
  chunks: Iterable<Uint8Array>,
): Promise<string> => {
  const tmp = path.join(dir, "own.tmp");
  const file = disk.open(tmp, "create");
  try {
    let at = 0;
    let total = 0;
    const put = (bytes: Uint8Array) => {
      file.write(bytes, at);
      at += bytes.length;
    };
    put(headerBytes(header));
    for (const chunk of chunks) {
      if (chunk.length === 0) continue;
      put(lengthAndCrc(chunk.length, crc32(chunk)));
      put(chunk);
      total = crc32(chunk, total);
      await nextTurn();
    }
    put(lengthAndCrc(0, total));
    await file.sync();
  } finally {
    file.close();
  }
  return adoptSnapshot(disk, dir, tmp, header.meta);
};

/** Gives a complete, synced file its final name. */
export const adoptSnapshot = (disk: Disk, dir: string, tmp: string, meta: SnapshotMeta): string => {
  const name = path.join(dir, snapshotName(meta));
  disk.rename(tmp, name);
  disk.syncDirectory(dir);
  return name;
};

const damaged = (file: string, why: string) => new TswarmError("internal", `snapshot ${file} is damaged: ${why}`);

/** Reads exact counts from pieces. */
class PieceReader {
  #pieces: AsyncIterator<Buffer>;
  #rest: Buffer = Buffer.alloc(0);

  constructor(pieces: AsyncIterable<Buffer>) {
    this.#pieces = pieces[Symbol.asyncIterator]();
  }

  /** undefined when the file ends before. */
  async take(count: number): Promise<Buffer | undefined> {
    const parts: Buffer[] = [];
    let missing = count;
    while (missing > 0) {
      if (this.#rest.length === 0) {
        const next = await this.#pieces.next();
        if (next.done) return undefined;
        this.#rest = next.value;
      }
      const part = this.#rest.subarray(0, missing);
      this.#rest = this.#rest.subarray(part.length);
      missing -= part.length;
      parts.push(part);
    }
    return parts.length === 1 ? parts[0] : Buffer.concat(parts);
  }

  async close(): Promise<void> {
    await this.#pieces.return?.();
  }
}

const readHeader = async (file: string, reader: PieceReader): Promise<SnapshotHeader> => {
  const start = await reader.take(16);
  if (start === undefined || !start.subarray(0, 8).equals(MAGIC)) throw damaged(file, "it does not begin as one");
  const length = start.readUInt32LE(8);
  const bytes = length <= MAX_PIECE ? await reader.take(length) : undefined;
  if (bytes === undefined || crc32(bytes) !== start.readUInt32LE(12)) throw damaged(file, "wrong header");
  const r = new ByteReader(bytes);
  const clusterId = Buffer.from(r.bytes()).toString();
  const meta = { index: r.varint(), term: r.varint(), conf: readConf(r) };
  return { clusterId, meta, peers: r.bytes() };
};

/** The state's chunks, each checked. Throws `internal` on damage, at the latest at the end. */
export async function* readSnapshot(disk: Disk, file: string): AsyncGenerator<Buffer, void> {
  const reader = new PieceReader(disk.readPieces(file, 1 << 18));
  try {
    await readHeader(file, reader);
    for (let total = 0; ; ) {
      const head = await reader.take(8);
      if (head === undefined) throw damaged(file, "it ends too early");
      const length = head.readUInt32LE(0);
      const crc = head.readUInt32LE(4);
      if (length === 0) {
        if (crc !== total || (await reader.take(1)) !== undefined) throw damaged(file, "wrong end");
        return;
      }
      const data = length <= MAX_PIECE ? await reader.take(length) : undefined;
      if (data === undefined || crc32(data) !== crc) throw damaged(file, "wrong checksum");
      total = crc32(data, total);
      yield data;
    }
  } finally {
    await reader.close();
  }
}

/** Reads and checks the whole file; returns its header. */
export const checkSnapshot = async (disk: Disk, file: string): Promise<SnapshotHeader> => {
  const reader = new PieceReader(disk.readPieces(file, 1 << 16));
  const header = await readHeader(file, reader).finally(() => reader.close());
  for await (const _ of readSnapshot(disk, file));
  return header;
};

/** Snapshot files, newest first. */
export const listSnapshots = (disk: Disk, dir: string): string[] =>
  disk
    .list(dir)
    .filter((n) => /^[0-9a-f]{16}-[0-9a-f]{8}\.snap$/.test(n))
    .reverse()
    .map((n) => path.join(dir, n));

/** Keeps the newest two: the one in use, and one in case that one turns out damaged. */
export const removeOldSnapshots = (disk: Disk, dir: string): void => {
  for (const file of listSnapshots(disk, dir).slice(2)) disk.remove(file);
};
