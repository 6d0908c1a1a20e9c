// A backup is one file: what a cluster of one manager can be made of.
//
//   "TSWBACK1", then pieces: u32 length (big-endian) and so many bytes. The first is the header, the others are the state's
//   snapshot, and one of length 0 ends them. Then the SHA-256 of all bytes before it, and nothing more.
//
// It holds the CA's key and the join tokens: whoever can read it can become a manager of the cluster. That of a cluster with
// autolock is sealed: each piece after the header, and an empty one as the last, with the unlock key.
import { createHash, type Hash } from "node:crypto";
import { reading, refuse, TswarmError } from "#base/errors.ts";
import { unlockBoxKey } from "#base/node/sealed-box.ts";
import { Opener, Sealer } from "#control-plane/raft-host/keys.ts";
import { BackupHeader } from "#proto/gen/quorum.ts";

const FAMILY = "TSWBACK";
const MAGIC = Buffer.from(`${FAMILY}1`);
const DIGEST_BYTES = 32;
const MAX_PIECE = 64 << 20;
const PURPOSE = "backup";

export type Backup = {
  readonly header: BackupHeader;
  /** As it is in the file. */
  readonly head: Uint8Array;
  /** Of the state's snapshot; sealed until `openBackup` has opened them. */
  readonly chunks: readonly Uint8Array[];
  readonly sealed: boolean;
  readonly bytes: number;
};

const lengthOf = (length: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(length);
  return bytes;
};

/** The last piece is sealed for another purpose than those before it, so that none of them can be taken for it. */
const endOf = (head: Uint8Array): Buffer => Buffer.concat([head, Buffer.from("end")]);

/** With what a backup is sealed; `salt`: 32 random bytes, other ones each time. */
export type BackupLock = { readonly unlockKey: string; readonly salt: Uint8Array };

function* sealed(
  header: BackupHeader,
  head: Uint8Array,
  chunks: Iterable<Uint8Array>,
  unlockKey: string,
): Generator<Buffer> {
  const sealer = new Sealer(unlockBoxKey(unlockKey, PURPOSE).key, header.salt, PURPOSE);
  for (const chunk of chunks) yield Buffer.concat(sealer.seal(chunk, head));
  yield Buffer.concat(sealer.seal(new Uint8Array(0), endOf(head)));
}

/** The file in pieces, made as they are asked for. */
export function* encodeBackup(
  about: Omit<BackupHeader, "salt" | "key">,
  chunks: Iterable<Uint8Array>,
  lock?: BackupLock,
): Generator<Buffer> {
  const hash = createHash("sha256");
  const counted = (bytes: Buffer): Buffer => {
    hash.update(bytes);
    return bytes;
  };
  const key = lock ? unlockBoxKey(lock.unlockKey, PURPOSE).id : "";
  const header = { ...about, key, salt: Buffer.from(lock?.salt ?? []) };
  const head = BackupHeader.encode(header).finish();
  yield counted(Buffer.concat([MAGIC, lengthOf(head.length), head]));
  for (const chunk of lock ? sealed(header, head, chunks, lock.unlockKey) : chunks)
    if (chunk.length > 0) yield counted(Buffer.concat([lengthOf(chunk.length), chunk]));
  yield counted(lengthOf(0));
  yield hash.digest();
}

const damaged = (why: string): TswarmError =>
  new TswarmError("invalid", `the backup is damaged: ${why}. Take another one.`);

/** Reads exact counts, and hashes what it reads. */
class Reader {
  #pieces: AsyncIterator<Uint8Array>;
  #rest: Uint8Array = new Uint8Array(0);
  readonly hash: Hash = createHash("sha256");
  bytes = 0;

  constructor(pieces: AsyncIterable<Uint8Array>) {
    this.#pieces = pieces[Symbol.asyncIterator]();
  }

  /** undefined when it ends before. */
  async take(count: number, counts = true): Promise<Buffer | undefined> {
    const parts: Uint8Array[] = [];
    for (let missing = count; missing > 0; ) {
      if (this.#rest.length === 0) {
        const next = await this.#pieces.next();
        if (next.done) return undefined;
        this.#rest = next.value;
      }
      const part = this.#rest.subarray(0, missing);
      this.#rest = this.#rest.subarray(part.length);
      missing -= part.length;
      this.bytes += part.length;
      parts.push(part);
    }
    const all = Buffer.concat(parts);
    if (counts) this.hash.update(all);
    return all;
  }

  async close(): Promise<void> {
    await this.#pieces.return?.();
  }
}

/** Reads and checks all of a backup. Throws `invalid` (no backup, cut off, damaged), `unsupported` (a newer format). */
export const decodeBackup = async (pieces: AsyncIterable<Uint8Array>): Promise<Backup> => {
  const reader = new Reader(pieces);
  try {
    const magic = await reader.take(MAGIC.length);
    if (magic === undefined || magic.subarray(0, FAMILY.length).toString() !== FAMILY)
      throw new TswarmError("invalid", "this is not a backup of a tswarm cluster");
    if (!magic.equals(MAGIC))
      throw new TswarmError(
        "unsupported",
        "the backup was made by a newer version: use that version's tsctl and agent",
      );
    const parts: Buffer[] = [];
    for (;;) {
      const length = (await reader.take(4))?.readUInt32BE();
      if (length === undefined) throw damaged("it is cut off");
      if (length === 0) break;
      if (length > MAX_PIECE) throw damaged("it has a piece of an impossible length");
      const part = await reader.take(length);
      if (part === undefined) throw damaged("it is cut off");
      parts.push(part);
    }
    const digest = await reader.take(DIGEST_BYTES, false);
    if (digest === undefined) throw damaged("it is cut off");
    if (!digest.equals(reader.hash.digest())) throw damaged("its checksum is wrong");
    if ((await reader.take(1, false)) !== undefined) throw damaged("something follows its end");
    const [head, ...chunks] = parts;
    if (head === undefined) throw damaged("it has no header");
    const header = reading("invalid", "the header of the backup", () => BackupHeader.decode(head));
    return { header, head, chunks, sealed: header.salt.length > 0, bytes: reader.bytes };
  } finally {
    await reader.close();
  }
};

/** Of a cluster with autolock. Throws `forbidden` when it is sealed with another key, `invalid` when it was changed since. */
export const openBackup = (backup: Backup, unlockKey: string): Backup => {
  if (!backup.sealed) return backup;
  const { header, head } = backup;
  const { id, key } = unlockBoxKey(unlockKey, PURPOSE);
  if (id !== header.key)
    throw refuse(
      "forbidden",
      "unlock key",
      "the backup is sealed with another one",
      "Give the key that was the cluster's when the backup was made",
    );
  const opener = new Opener(key, header.salt, PURPOSE);
  const last = backup.chunks.length - 1;
  try {
    const chunks = backup.chunks.map((chunk, i) => opener.open(chunk, i === last ? endOf(head) : head));
    return { ...backup, sealed: false, chunks: chunks.slice(0, -1) };
  } catch (cause) {
    throw new TswarmError("invalid", "the backup was changed after it was made: it can't be trusted", { cause });
  }
};
