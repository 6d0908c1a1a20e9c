// Reading the write-ahead log at start: all segments in order, what they add up to, and the cut of a torn end.
import path from "node:path";
import { TswarmError } from "#base/errors.ts";
import type { Logger } from "#base/log.ts";
import type { Entry, HardState } from "#control-plane/raft/types.ts";
import type { Disk } from "#control-plane/raft-host/disk.ts";
import { readSegment } from "#control-plane/raft-host/wal-frame.ts";
import { decodeRecord, type WalHeader } from "#control-plane/raft-host/wal-record.ts";

export type WalContents = {
  /** Of the newest segment; null: there is no log. */
  readonly header: WalHeader | null;
  readonly hardState: HardState | null;
  /** The newest snapshot the log knows of. */
  readonly snapshot: { readonly index: number; readonly term: number } | null;
  readonly peers: Uint8Array | null;
  /** Contiguous; may begin before the snapshot. */
  readonly entries: readonly Entry[];
  readonly segments: readonly { readonly name: string; readonly maxIndex: number; readonly end: number }[];
};

const corrupt = (file: string, offset: number, why: string): TswarmError =>
  new TswarmError(
    "internal",
    `${file} is damaged at byte ${offset}: ${why}. Acknowledged data is lost here, so this member must not take part. ` +
      "Remove it from the cluster, empty its folder and let it join again.",
  );

/** "repair" keeps a copy of a torn end, because the opener cuts it; "look" changes nothing. */
export const readWal = (disk: Disk, dir: string, logger: Logger, mode: "repair" | "look"): WalContents => {
  const names = disk.list(dir).filter((n) => /^[0-9a-f]{8}-[0-9a-f]{16}\.wal$/.test(n));
  const segments: { name: string; maxIndex: number; end: number }[] = [];
  let header: WalHeader | null = null;
  let hardState: HardState | null = null;
  let snapshot: WalContents["snapshot"] = null;
  let peers: Uint8Array | null = null;
  let entries: Entry[] = [];

  for (const [i, name] of names.entries()) {
    const file = path.join(dir, name);
    const bytes = disk.read(file);
    const { payloads, end, tail } = readSegment(bytes);
    const isLast = i === names.length - 1;
    if (tail === "corrupt") throw corrupt(file, end, "synced bytes do not match their checksum");
    if (!isLast && (tail !== "clean" || end !== bytes.length)) throw corrupt(file, end, "an old segment is incomplete");
    if (tail === "torn" && mode === "repair") cutTornEnd(disk, dir, name, end, logger);
    let maxIndex = 0;
    for (const [n, payload] of payloads.entries()) {
      const record = decodeRecord(payload);
      if ((n === 0) !== (record.kind === "header")) throw corrupt(file, 0, "a segment begins with its header");
      switch (record.kind) {
        case "header": {
          const { seq, previousEnd } = record.header;
          const before = segments.at(-1);
          if (header !== null && seq !== header.seq + 1) throw corrupt(file, 0, `segment ${header.seq + 1} is missing`);
          if (before !== undefined && before.end !== previousEnd) {
            throw corrupt(path.join(dir, before.name), before.end, `its records ended at ${previousEnd}`);
          }
          header = record.header;
          break;
        }
        case "entry": {
          const { entry } = record;
          const first = entries[0]?.index ?? entry.index;
          // A later entry of the same index replaces the tail from there.
          const at = Math.max(0, entry.index - first);
          if (at > entries.length) throw corrupt(file, end, `entry ${entry.index} follows a gap`);
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
      }
    }
    if (payloads.length === 0) throw corrupt(file, 0, "a segment begins with its header");
    segments.push({ name, maxIndex, end });
  }
  return { header, hardState, snapshot, peers, entries, segments };
};

/** Keeps a copy for whoever wants to look; the opener truncates the file. */
const cutTornEnd = (disk: Disk, dir: string, name: string, end: number, logger: Logger): void => {
  disk.copy(path.join(dir, name), path.join(dir, `${name}.torn`));
  logger.warn("cut an unfinished write at the end of the log", { file: name, offset: end, copy: `${name}.torn` });
};
