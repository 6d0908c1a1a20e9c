// The write-ahead log: what this member must not forget, in segments `<sequence>-<first index>.wal`.
//
// Group commit: records gather while one sync is running; then they go out in one write and one sync.
// Each segment begins with who it belongs to, the newest hard state, members and snapshot, so older segments can go.
// Records are encrypted (wal-seal.ts); segments of a version that did not are read, and a new one is begun behind them.
// A failed write or sync is final: after it the kernel may have dropped the data, so every later call fails too.
// A full disk is no such failure: room is made with zeros before records go there, so nothing is lost, and what has no room
// waits until there is some again.
import path from "node:path";
import { TswarmError } from "#base/errors.ts";
import type { Logger } from "#base/log.ts";
import type { Entry, HardState } from "#control-plane/raft/types.ts";
import { type Disk, type DiskFile, isDiskFull } from "#control-plane/raft-host/disk.ts";
import type { DataKeys, KeyUse } from "#control-plane/raft-host/keys.ts";
import { frameSize, writeFrame } from "#control-plane/raft-host/wal-frame.ts";
import { readWal, type WalContents } from "#control-plane/raft-host/wal-read.ts";
import { encodeRecord, type WalHeader, type WalRecord } from "#control-plane/raft-host/wal-record.ts";
import { recordSealer } from "#control-plane/raft-host/wal-seal.ts";

export type WalOptions = {
  readonly dir: string;
  readonly disk: Disk;
  readonly segmentBytes: number;
  readonly logger: Logger;
  readonly keys: DataKeys;
};

export type Wal = {
  /** Queues records, in order. They reach the file with the next sync at the latest. */
  append(records: readonly WalRecord[]): void;
  /** Resolves when everything appended before the call is on the medium. */
  sync(): Promise<void>;
  /** Entries up to `index` are not needed any more: removes the segments that hold nothing else. */
  release(index: number): void;
  /** The data keys that its segments need. */
  keyIds(): ReadonlySet<number>;
  /** The disk is full: what has no room in the present segment waits. */
  readonly full: boolean;
  /** Looks whether there is room now. */
  retryRoom(): void;
  /** Waits for the sync that runs, then closes. */
  close(): Promise<void>;
  /** Closes without writing what is queued, as a crash would. */
  abandon(): void;
};

/** Bytes of records in one frame, unless one record is larger. */
const MAX_SEALED = 1 << 20;
/** What encryption adds to a record that has a frame of its own, and what the record of a key takes. */
const SEAL_BYTES = 48;
const KEY_BYTES = 128;

type OpenSegment = { readonly name: string; readonly keyId: number | null; maxIndex: number };

export const segmentName = (seq: number, firstIndex: number): string =>
  `${seq.toString(16).padStart(8, "0")}-${firstIndex.toString(16).padStart(16, "0")}.wal`;

/**
 * Opens the log in `dir`, or makes a new one for `identity`. A torn end is cut, with a copy kept as `<name>.torn`; damage to
 * synced data is refused with `internal`.
 */
export const openWal = async (
  options: WalOptions,
  identity: Pick<WalHeader, "raftId" | "clusterId"> | null,
): Promise<{ wal: Wal; contents: WalContents }> => {
  const { dir, disk, logger } = options;
  disk.makeDirectory(dir);
  for (const name of disk.list(dir)) if (name.endsWith(".tmp")) disk.remove(path.join(dir, name));
  const contents = readWal(disk, dir, logger, "repair", options.keys);
  if (contents.header === null && identity === null) {
    throw new TswarmError("not_found", `${dir} holds no log, and there is no identity to make one`);
  }
  const wal = new SegmentedWal(
    options,
    contents.header ?? { ...identity!, seq: 0, previousEnd: 0, key: null },
    contents,
  );
  await wal.start(contents);
  return { wal, contents };
};

class SegmentedWal implements Wal {
  #options: WalOptions;
  #header: WalHeader;
  #file: DiskFile | null = null;
  #segments: OpenSegment[];
  #end = 0;
  #durable = 0;
  /** Size of the present file. */
  #room = 0;
  #lastIndex: number;
  /** null: nothing was written to this segment since it was opened again. */
  #seal: ReturnType<typeof recordSealer> | null = null;
  // Repeated at the beginning of each segment.
  #hardState: HardState | null;
  #peers: Uint8Array | null;
  #snapshot: { index: number; term: number } | null;

  #queue: Buffer[] = [];
  #queuedIndexes: number[] = [];
  #waiting: { resolve: () => void; reject: (error: unknown) => void }[] = [];
  #running = false;
  #failure: unknown = null;
  #closed = false;
  #spare: Promise<DiskFile> | null = null;
  #spareIsReady = false;
  /** What waits for room: how many works, and how each goes on. */
  #blocked = 0;
  #retries: (() => void)[] = [];

  constructor(options: WalOptions, header: WalHeader, contents: WalContents) {
    this.#options = options;
    this.#header = header;
    this.#segments = contents.segments.map(({ name, keyId, maxIndex }) => ({ name, keyId, maxIndex }));
    this.#hardState = contents.hardState;
    this.#peers = contents.peers;
    this.#snapshot = contents.snapshot;
    this.#lastIndex = contents.entries.at(-1)?.index ?? contents.snapshot?.index ?? 0;
  }

  #path(name: string): string {
    return path.join(this.#options.dir, name);
  }

  async start(contents: WalContents): Promise<void> {
    const last = contents.segments.at(-1);
    if (last === undefined) {
      const file = this.#create("first.tmp");
      await this.#fillFirst(file);
      this.#openSegment(file, "first.tmp");
    } else {
      this.#file = this.#options.disk.open(this.#path(last.name), "existing");
      // What was read may still be only in the page cache; and the place behind a cut end must be zero.
      this.#file.truncate(last.end);
      await this.#fillFirst(this.#file);
      this.#file.syncNow();
      this.#room = this.#options.segmentBytes;
      this.#end = this.#durable = last.end;
    }
    this.#prepareSpare();
  }

  async #fillFirst(file: DiskFile): Promise<void> {
    const { dir, segmentBytes } = this.#options;
    try {
      await file.fillTo(segmentBytes);
    } catch (cause) {
      if (!isDiskFull(cause)) throw cause;
      const needed = `${Math.ceil(segmentBytes / 2 ** 20)} MiB are needed for the log in ${dir}`;
      throw new TswarmError("unavailable", `the disk is full: ${needed}`, { cause });
    }
  }

  #create(name: string): DiskFile {
    return this.#options.disk.open(this.#path(name), "create");
  }

  /** The next segment, filled with zeros in the background: syncing a filled file is faster and can't run out of space. */
  #prepareSpare(): void {
    this.#spareIsReady = false;
    const fill = async () => {
      const file = this.#create("next.tmp");
      try {
        await file.fillTo(this.#options.segmentBytes);
        await file.sync();
        this.#spareIsReady = true;
        return file;
      } catch (error) {
        file.close();
        this.#options.disk.remove(this.#path("next.tmp"));
        throw error;
      }
    };
    this.#spare = this.#whenThereIsRoom(fill);
    this.#spare.catch((error) => this.#fail(error));
  }

  /** Does `work`, which may fail for lack of space without leaving anything behind, again and again. */
  async #whenThereIsRoom<T>(work: () => Promise<T>): Promise<T> {
    for (let tries = 1; ; tries++) {
      try {
        const result = await work();
        if (tries > 1) this.#blocked--;
        return result;
      } catch (error) {
        if (!isDiskFull(error) || this.#closed) throw error;
        if (tries === 1) this.#blocked++;
        await new Promise<void>((resolve) => this.#retries.push(resolve));
        if (this.#closed) throw error;
      }
    }
  }

  get full(): boolean {
    return this.#blocked > 0;
  }

  retryRoom(): void {
    for (const retry of this.#retries.splice(0)) retry();
  }

  /** Size of the file with what is queued, at most. */
  get #needed(): number {
    if (this.#queue.length === 0) return this.#end;
    return this.#end + this.#queue.reduce((sum, record) => sum + frameSize(record) + SEAL_BYTES, KEY_BYTES);
  }

  async #extend(size: number): Promise<void> {
    try {
      await this.#file!.fillTo(size);
      this.#room = size;
    } catch (error) {
      // The next segment has its room already.
      if (!isDiskFull(error) || !this.#spareIsReady) throw error;
      await this.#rotate();
    }
  }

  /** Records must not run out of space in the middle of a write, also if they are more than one segment. */
  async #makeRoom(): Promise<void> {
    // More may be queued meanwhile.
    for (let size = this.#needed; size > this.#room; size = this.#needed) {
      await this.#whenThereIsRoom(() => this.#extend(size));
    }
  }

  /** Gives the `.tmp` file its name and its first records. The caller syncs. */
  #openSegment(file: DiskFile, tmp: string): void {
    const { disk, dir } = this.#options;
    const seq = this.#header.seq + 1;
    const key = this.#newKeyUse();
    this.#header = { ...this.#header, seq, previousEnd: this.#end, key };
    const name = segmentName(this.#header.seq, this.#lastIndex + 1);
    const records: WalRecord[] = [];
    if (this.#peers !== null) records.push({ kind: "peers", data: this.#peers });
    if (this.#snapshot !== null) records.push({ kind: "snapshot", reset: false, ...this.#snapshot });
    if (this.#hardState !== null) records.push({ kind: "hard-state", hardState: this.#hardState });
    this.#file = file;
    this.#room = this.#options.segmentBytes;
    this.#end = 0;
    this.#durable = 0;
    this.#seal = recordSealer(this.#options.keys, key, seq);
    this.#write(encodeRecord({ kind: "header", header: this.#header }), records.map(encodeRecord));
    file.syncNow();
    disk.rename(this.#path(tmp), this.#path(name));
    disk.syncDirectory(dir);
    this.#durable = this.#end;
    this.#segments.push({ name, keyId: key.id, maxIndex: 0 });
  }

  append(records: readonly WalRecord[]): void {
    for (const record of records) {
      if (record.kind === "hard-state") this.#hardState = record.hardState;
      if (record.kind === "peers") this.#peers = record.data;
      if (record.kind === "snapshot") this.#snapshot = { index: record.index, term: record.term };
      this.#queue.push(encodeRecord(record));
      this.#queuedIndexes.push(record.kind === "entry" ? record.entry.index : 0);
    }
  }

  sync(): Promise<void> {
    if (this.#failure !== null) return Promise.reject(this.#failure);
    if (this.#closed) return Promise.reject(new TswarmError("unavailable", "the log is closed"));
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      if (!this.#running) void this.#run();
    });
  }

  async #run(): Promise<void> {
    this.#running = true;
    while (this.#waiting.length > 0 && this.#failure === null) {
      const waiting = this.#waiting;
      this.#waiting = [];
      try {
        if (this.#end >= this.#options.segmentBytes || this.#hasOtherKey()) await this.#rotate();
        await this.#makeRoom();
        this.#flushQueue();
        await this.#file!.sync();
        this.#durable = this.#end;
        for (const { resolve } of waiting) resolve();
      } catch (error) {
        this.#waiting.unshift(...waiting);
        this.#fail(error);
      }
    }
    this.#running = false;
  }

  #newKeyUse(): KeyUse {
    const { keys } = this.#options;
    return { id: keys.current().id, salt: keys.salt() };
  }

  /** The segment was begun with another data key, or without one by an older version. */
  #hasOtherKey(): boolean {
    return this.#segments.at(-1)!.keyId !== this.#options.keys.current().id;
  }

  #flushQueue(): void {
    const payloads = this.#queue;
    if (payloads.length === 0) return;
    const current = this.#segments.at(-1)!;
    for (const index of this.#queuedIndexes) {
      if (index > 0) this.#lastIndex = index;
      current.maxIndex = Math.max(current.maxIndex, index);
    }
    this.#queue = [];
    this.#queuedIndexes = [];
    let first: Buffer | null = null;
    if (this.#seal === null) {
      const key = this.#newKeyUse();
      this.#seal = recordSealer(this.#options.keys, key, this.#header.seq);
      first = encodeRecord({ kind: "key", key });
    }
    this.#write(first, payloads);
  }

  /** `plain` is not encrypted. */
  #write(plain: Buffer | null, records: readonly Buffer[]): void {
    const frames = plain === null ? [] : [plain];
    let size = plain === null ? 0 : frameSize(plain);
    for (const group of sealedTogether(records)) {
      const frame = this.#seal!(group, { at: this.#end + size, durable: this.#durable });
      frames.push(frame);
      size += frameSize(frame);
    }
    const batch = Buffer.alloc(size);
    let at = 0;
    for (const frame of frames) {
      writeFrame(batch, at, frame, this.#durable);
      at += frameSize(frame);
    }
    this.#file!.write(batch, this.#end);
    this.#end += size;
  }

  /** All of the old segment is synced at this point. */
  async #rotate(): Promise<void> {
    const spare = await this.#spare!;
    if (this.#closed) throw new TswarmError("unavailable", "the log is closed");
    const old = this.#file!;
    // Nothing but records may be in an old segment, so that a missing end shows.
    old.truncate(this.#end);
    old.syncNow();
    old.close();
    // Only what is in the file already counts for the new segment's first records; the queue follows them.
    this.#openSegment(spare, "next.tmp");
    this.#prepareSpare();
  }

  #fail(error: unknown): void {
    this.#failure ??= error;
    for (const { reject } of this.#waiting.splice(0)) reject(this.#failure);
  }

  release(index: number): void {
    const { disk, dir } = this.#options;
    let removed = 0;
    while (this.#segments.length > 1 && this.#segments[0]!.maxIndex <= index) {
      disk.remove(this.#path(this.#segments.shift()!.name));
      removed++;
    }
    if (removed > 0) disk.syncDirectory(dir);
  }

  keyIds(): ReadonlySet<number> {
    return new Set(this.#segments.flatMap(({ keyId }) => keyId ?? []));
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    if (this.#failure === null && !this.full) await this.sync().catch(() => {});
    this.abandon();
    await this.#spare?.catch(() => {});
  }

  abandon(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#fail(new TswarmError("unavailable", "the log is closed"));
    this.retryRoom();
    this.#queue = [];
    this.#file?.close();
    this.#spare?.then(
      (file) => file.close(),
      () => {},
    );
  }
}

/** Sealing costs by the frame, but a large one is copied more than once. */
function* sealedTogether(records: readonly Buffer[]): Generator<Buffer[]> {
  let group: Buffer[] = [];
  let size = 0;
  for (const record of records) {
    if (size + record.length > MAX_SEALED && group.length > 0) {
      yield group;
      group = [];
      size = 0;
    }
    group.push(record);
    size += record.length;
  }
  if (group.length > 0) yield group;
}

export const entryRecords = (entries: readonly Entry[]): WalRecord[] =>
  entries.map((entry) => ({ kind: "entry", entry }));
