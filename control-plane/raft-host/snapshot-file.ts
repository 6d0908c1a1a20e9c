// Snapshots on disk: `<index>-<term>.snap`. Written beside as `.tmp`, synced, renamed; the newest two stay.
//
//   "TSWSNAP2", then pieces: u32 length, u32 crc, data. The first piece is the number and salt of the data key, the others
//   are sealed with it: header (cluster, meta, peers), the state's chunks, none of them empty, and an empty one that ends the
//   file. Checksums are of what is in the file: damage shows without a key, and a forger needs one.
//
// Files of older versions are not encrypted (snapshot-stream.ts); they are read.
import path from "node:path";
import { crc32 } from "node:zlib";
import { newerVersion, TswarmError } from "#base/errors.ts";
import type { SnapshotMeta } from "#control-plane/raft/types.ts";
import { ByteReader, ByteWriter } from "#control-plane/raft-host/byte-codec.ts";
import { type Disk, isDiskFull } from "#control-plane/raft-host/disk.ts";
import { type DataKeys, type KeyUse, Opener, Sealer } from "#control-plane/raft-host/keys.ts";
import { PieceReader } from "#control-plane/raft-host/piece-reader.ts";
import {
  damaged,
  decodeHeader,
  decodeStream,
  encodeHeader,
  encodeStream,
  lengthAndCrc,
  type OpenSnapshot,
  type SnapshotHeader,
  STREAM_MAGIC,
  takeChecked,
} from "#control-plane/raft-host/snapshot-stream.ts";

const MAGIC = Buffer.from("TSWSNAP2");
const PURPOSE = "snapshot";
const BOUND = MAGIC;
const READ_BYTES = 1 << 18;
const OWN = "own.tmp";
/** One sync of everything at the end would hold up those of the log for long. */
const SYNC_BYTES = 4 << 20;

export const snapshotName = (meta: SnapshotMeta): string =>
  `${meta.index.toString(16).padStart(16, "0")}-${meta.term.toString(16).padStart(8, "0")}.snap`;

const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

const encodeKeyUse = ({ id, salt }: KeyUse): Buffer => {
  const w = new ByteWriter();
  w.varint(id);
  w.bytes(salt);
  return w.done();
};

const decodeKeyUse = (bytes: Uint8Array): KeyUse => {
  const r = new ByteReader(bytes);
  return { id: r.varint(), salt: r.bytes() };
};

/** Writes a new file, encrypted, one chunk for each turn of the event loop; it is synced when this resolves. */
export const writeSealed = async (
  disk: Disk,
  name: string,
  header: SnapshotHeader,
  chunks: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
  keys: DataKeys,
): Promise<void> => {
  const file = disk.open(name, "create");
  try {
    const { id, key } = keys.current();
    const salt = keys.salt();
    const sealer = new Sealer(key, salt, PURPOSE);
    let at = 0;
    let synced = 0;
    const put = (bytes: Uint8Array) => {
      file.write(bytes, at);
      at += bytes.length;
    };
    const seal = (bytes: Uint8Array) => {
      const [sealed, tag] = sealer.seal(bytes, BOUND);
      put(lengthAndCrc(sealed.length + tag.length, crc32(tag, crc32(sealed))));
      put(sealed);
      put(tag);
    };
    const use = encodeKeyUse({ id, salt });
    put(Buffer.concat([MAGIC, lengthAndCrc(use.length, crc32(use)), use]));
    seal(encodeHeader(header));
    for await (const chunk of chunks) {
      if (chunk.length === 0) continue;
      seal(chunk);
      if (at - synced >= SYNC_BYTES) {
        await file.sync();
        synced = at;
      }
      await nextTurn();
    }
    seal(new Uint8Array(0));
    await file.sync();
  } finally {
    file.close();
  }
};

/** Writes a snapshot of this member's state. The file has its name when this resolves. */
export const writeSnapshot = async (
  disk: Disk,
  dir: string,
  header: SnapshotHeader,
  chunks: Iterable<Uint8Array>,
  keys: DataKeys,
): Promise<string> => {
  const tmp = path.join(dir, OWN);
  try {
    await writeSealed(disk, tmp, header, chunks, keys);
  } catch (error) {
    if (isDiskFull(error) && disk.list(dir).includes(OWN)) disk.remove(tmp);
    throw error;
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

const takeKeyUse = async (file: string, reader: PieceReader): Promise<KeyUse> => {
  const { data } = await takeChecked(file, reader);
  if (data.length === 0) throw damaged(file, "it names no key");
  return decodeKeyUse(data);
};

const decodeSealed = async (file: string, reader: PieceReader, keys: DataKeys): Promise<OpenSnapshot> => {
  const { id, salt } = await takeKeyUse(file, reader);
  const key = keys.get(id);
  if (key === undefined)
    throw new TswarmError("internal", `snapshot ${file} needs data key ${id}, which is not in this member's key file`);
  const opener = new Opener(key, salt, PURPOSE);
  /** undefined: the end. */
  const next = async (): Promise<Buffer | undefined> => {
    const { data } = await takeChecked(file, reader);
    try {
      const plain = opener.open(data, BOUND);
      return plain.length === 0 ? undefined : plain;
    } catch {
      throw damaged(file, "what is there was not encrypted by this member for this place");
    }
  };
  const header = await next();
  if (header === undefined) throw damaged(file, "it has no header");
  const chunks = async function* () {
    for (let chunk = await next(); chunk !== undefined; chunk = await next()) yield chunk;
    if ((await reader.take(1)) !== undefined) throw damaged(file, "something follows its end");
  };
  return { header: decodeHeader(header), chunks: chunks() };
};

const open = async (file: string, reader: PieceReader, keys: DataKeys): Promise<OpenSnapshot> => {
  const magic = await reader.take(MAGIC.length);
  if (magic?.equals(MAGIC)) return decodeSealed(file, reader, keys);
  if (magic?.equals(STREAM_MAGIC)) return decodeStream(file, reader);
  const newer = /^TSWSNAP([3-9])$/.exec(magic?.toString("latin1") ?? "");
  if (newer !== null) throw newerVersion(`snapshot ${file}`, Number(newer[1]), 2);
  throw damaged(file, "it does not begin as one");
};

async function* readAs(
  disk: Disk,
  file: string,
  keys: DataKeys,
  form: (snapshot: OpenSnapshot) => AsyncGenerator<Buffer, void>,
): AsyncGenerator<Buffer, void> {
  const reader = new PieceReader(disk.readPieces(file, READ_BYTES));
  try {
    yield* form(await open(file, reader, keys));
  } finally {
    await reader.close();
  }
}

/** The state's chunks, each checked. Throws `internal` on damage, at the latest at the end. */
export const readSnapshot = (disk: Disk, file: string, keys: DataKeys): AsyncGenerator<Buffer, void> =>
  readAs(disk, file, keys, ({ chunks }) => chunks);

/** As it goes to another member: decrypted, in pieces of at most `size`. */
export async function* streamSnapshot(
  disk: Disk,
  file: string,
  keys: DataKeys,
  size: number,
): AsyncGenerator<Buffer, void> {
  for await (const piece of readAs(disk, file, keys, encodeStream))
    for (let at = 0; at < piece.length; at += size) yield piece.subarray(at, at + size);
}

/** Reads and checks the whole file; returns its header. */
export const checkSnapshot = async (disk: Disk, file: string, keys: DataKeys): Promise<SnapshotHeader> => {
  const reader = new PieceReader(disk.readPieces(file, READ_BYTES));
  try {
    const { header, chunks } = await open(file, reader, keys);
    for await (const _ of chunks);
    return header;
  } finally {
    await reader.close();
  }
};

/** The number of the data key that a file needs; undefined: none, or it is damaged. */
export const snapshotKeyId = async (disk: Disk, file: string): Promise<number | undefined> => {
  const reader = new PieceReader(disk.readPieces(file, READ_BYTES));
  try {
    const magic = await reader.take(MAGIC.length);
    return magic?.equals(MAGIC) ? (await takeKeyUse(file, reader)).id : undefined;
  } finally {
    await reader.close();
  }
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
