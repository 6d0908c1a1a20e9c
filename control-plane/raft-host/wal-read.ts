// Reading the write-ahead log at start: all segments in order, what they add up to, and the cut of a torn end.
import path from "node:path";
import { TswarmError } from "#base/errors.ts";
import type { Logger } from "#base/log.ts";
import type { Entry, HardState } from "#control-plane/raft/types.ts";
import type { Disk } from "#control-plane/raft-host/disk.ts";
import type { DataKeys, KeyUse } from "#control-plane/raft-host/keys.ts";
import { type Place, readSegment, type Segment } from "#control-plane/raft-host/wal-frame.ts";
import { decodeRecord, type WalHeader, type WalRecord } from "#control-plane/raft-host/wal-record.ts";
import { isSealed, recordOpener } from "#control-plane/raft-host/wal-seal.ts";

export type WalContents = {
  /** Of the newest segment; null: there is no log. */
  readonly header: WalHeader | null;
  readonly hardState: HardState | null;
  /** The newest snapshot the log knows of. */
  readonly snapshot: { readonly index: number; readonly term: number } | null;
  readonly peers: Uint8Array | null;
  /** Contiguous; may begin before the snapshot. */
  readonly entries: readonly Entry[];
  readonly segments: readonly ReadSegment[];
};

/** `keyId`: the data key that it needs; null: it is not encrypted. */
type ReadSegment = {
  readonly name: string;
  readonly maxIndex: number;
  readonly end: number;
  readonly keyId: number | null;
};

const corrupt = (file: string, offset: number, why: string): TswarmError =>
  new TswarmError(
    "internal",
    `${file} is damaged at byte ${offset}: ${why}. Acknowledged data is lost here, so this member must not take part. ` +
      "Remove it from the cluster, empty its folder and let it join again.",
  );

const segmentNames = (disk: Disk, dir: string): string[] =>
  disk.list(dir).filter((n) => /^[0-9a-f]{8}-[0-9a-f]{16}\.wal$/.test(n));

/** Whose log it is, which can be read without a key; null: there is none. */
export const readWalHeader = (disk: Disk, dir: string): WalHeader | null => {
  const newest = segmentNames(disk, dir).at(-1);
  if (newest === undefined) return null;
  const file = path.join(dir, newest);
  const [first] = readSegment(disk.read(file)).payloads;
  const record = first && decodeRecord(first);
  if (record?.kind !== "header") throw corrupt(file, 0, "a segment begins with its header");
  return record.header;
};

/** The segment's records in order, decrypted. */
function* recordsOf(file: string, { payloads, places }: Segment, keys: DataKeys): Generator<[WalRecord, Place]> {
  let encrypted = false;
  let seq = 0;
  let open: ReturnType<typeof recordOpener> | undefined;
  const use = ({ id, salt }: KeyUse): void => {
    const key = keys.get(id);
    if (key === undefined)
      throw new TswarmError("internal", `${file} needs data key ${id}, which is not in this member's key file`);
    open = recordOpener(key, salt, seq);
  };
  for (const [n, payload] of payloads.entries()) {
    const place = places[n]!;
    if (!isSealed(payload)) {
      const record = decodeRecord(payload);
      if ((n === 0) !== (record.kind === "header")) throw corrupt(file, place.at, "a segment begins with its header");
      if (record.kind === "header") {
        encrypted = record.header.key !== null;
        seq = record.header.seq;
        if (record.header.key !== null) use(record.header.key);
      } else if (record.kind === "key" && encrypted) use(record.key);
      else if (encrypted) throw corrupt(file, place.at, "a record is not encrypted");
      yield [record, place];
      continue;
    }
    let sealed: Uint8Array[];
    try {
      if (open === undefined) throw new Error("no key");
      sealed = open(payload, place);
    } catch {
      throw corrupt(file, place.at, "what is there was not encrypted by this member for this place");
    }
    for (const record of sealed) yield [decodeRecord(record), place];
  }
}

/** "repair" keeps a copy of a torn end, because the opener cuts it; "look" changes nothing. */
export const readWal = (
  disk: Disk,
  dir: string,
  logger: Logger,
  mode: "repair" | "look",
  keys: DataKeys,
): WalContents => {
  const names = segmentNames(disk, dir);
  const segments: ReadSegment[] = [];
  let header: WalHeader | null = null;
  let hardState: HardState | null = null;
  let snapshot: WalContents["snapshot"] = null;
  let peers: Uint8Array | null = null;
  let entries: Entry[] = [];

  for (const [i, name] of names.entries()) {
    const file = path.join(dir, name);
    const bytes = disk.read(file);
    const segment = readSegment(bytes);
    const { end, tail } = segment;
    const isLast = i === names.length - 1;
    if (tail === "corrupt") throw corrupt(file, end, "synced bytes do not match their checksum");
    if (!isLast && (tail !== "clean" || end !== bytes.length)) throw corrupt(file, end, "an old segment is incomplete");
    if (tail === "torn" && mode === "repair") cutTornEnd(disk, dir, name, end, logger);
    let maxIndex = 0;
    let keyId: number | null = null;
    for (const [record, { at: offset }] of recordsOf(file, segment, keys)) {
      switch (record.kind) {
        case "header": {
          const { seq, previousEnd } = record.header;
          const before = segments.at(-1);
          if (header !== null && seq !== header.seq + 1) throw corrupt(file, 0, `segment ${header.seq + 1} is missing`);
          if (before !== undefined && before.end !== previousEnd) {
            throw corrupt(path.join(dir, before.name), before.end, `its records ended at ${previousEnd}`);
          }
          // Older versions wrote them, and none can come after an encrypted one.
          if (segments.some((s) => s.keyId !== null) && record.header.key === null)
            throw corrupt(file, 0, "a segment is not encrypted");
          header = record.header;
          keyId = header.key?.id ?? null;
          break;
        }
        case "entry": {
          const { entry } = record;
          const first = entries[0]?.index ?? entry.index;
          // A later entry of the same index replaces the tail from there.
          const at = Math.max(0, entry.index - first);
          if (at > entries.length) throw corrupt(file, offset, `entry ${entry.index} follows a gap`);
          entries.length = at;
          entries.push(entry);
          maxIndex = Math.max(maxIndex, entry.index);
          break;
        }
        case "hard-state":
          hardState = record.hardState;
          break;
        case "snapshot":
          snapshot = { index: record.index, term: record.term };
          if (record.reset) entries = [];
          break;
        case "peers":
          peers = record.data;
          break;
        case "key":
          // Of use to what follows, and not to the contents.
          break;
      }
    }
    if (segment.payloads.length === 0) throw corrupt(file, 0, "a segment begins with its header");
    segments.push({ name, maxIndex, end, keyId });
  }
  return { header, hardState, snapshot, peers, entries, segments };
};

/** Keeps a copy for whoever wants to look; the opener truncates the file. */
const cutTornEnd = (disk: Disk, dir: string, name: string, end: number, logger: Logger): void => {
  disk.copy(path.join(dir, name), path.join(dir, `${name}.torn`));
  logger.warn("cut an unfinished write at the end of the log", { file: name, offset: end, copy: `${name}.torn` });
};
