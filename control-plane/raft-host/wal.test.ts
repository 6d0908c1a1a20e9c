import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { expect } from "chai";
import { TswarmError } from "#base/errors.ts";
import { silentLogger } from "#base/log.ts";
import type { Entry } from "#control-plane/raft/types.ts";
import type { Disk } from "#control-plane/raft-host/disk.ts";
import { nodeDisk } from "#control-plane/raft-host/node-disk.ts";
import { testKeys } from "#control-plane/raft-host/test-keys.ts";
import { entryRecords, openWal, type WalOptions } from "#control-plane/raft-host/wal.ts";
import { readSegment } from "#control-plane/raft-host/wal-frame.ts";
import { readWal } from "#control-plane/raft-host/wal-read.ts";

const identity = { raftId: 3, clusterId: "c" };
const entry = (index: number, term = 1, size = 20): Entry => ({
  term,
  index,
  type: "normal",
  data: Buffer.alloc(size, index),
});
const entries = (from: number, to: number, term = 1, size = 20) =>
  Array.from({ length: to - from + 1 }, (_, i) => entry(from + i, term, size));
const indexesAndTerms = (list: readonly Entry[]) => list.map((e) => [e.index, e.term]);

describe("write-ahead log", () => {
  let dir: string;
  let lives = 0;
  const options = (segmentBytes = 4096, disk: Disk = nodeDisk): WalOptions => ({
    dir,
    disk,
    segmentBytes,
    logger: silentLogger,
    keys: testKeys(++lives),
  });
  const segments = () => fs.readdirSync(dir).filter((n) => n.endsWith(".wal"));

  beforeEach(() => {
    dir = fs.mkdtempSync(path.join(os.tmpdir(), "tswarm-wal-"));
  });
  afterEach(() => fs.rmSync(dir, { recursive: true, force: true }));

  /** Five synced batches in one segment; returns the segment's bytes and where each batch ended. */
  const smallLog = async (): Promise<{ file: string; bytes: Buffer; ends: number[] }> => {
    const { wal } = await openWal(options(), identity);
    const file = path.join(dir, segments()[0]!);
    const ends: number[] = [];
    for (let i = 1; i <= 5; i++) {
      wal.append(entryRecords([entry(i)]));
      await wal.sync();
      ends.push(readSegment(fs.readFileSync(file)).end);
    }
    await wal.close();
    return { file, bytes: fs.readFileSync(file), ends };
  };

  it("gives back entries, hard state, snapshot and members", async () => {
    const { wal } = await openWal(options(), identity);
    wal.append([{ kind: "peers", data: Buffer.from("p") }, ...entryRecords(entries(1, 5))]);
    wal.append([{ kind: "hard-state", hardState: { term: 2, vote: 3, commit: 4 } }]);
    await wal.sync();
    wal.append([{ kind: "snapshot", index: 2, term: 1, reset: false }, ...entryRecords([entry(4, 2)])]);
    await wal.sync();
    await wal.close();
    const { wal: again, contents } = await openWal(options(), null);
    await again.close();
    expect(contents.header).to.include(identity);
    expect(contents.hardState).to.deep.equal({ term: 2, vote: 3, commit: 4 });
    expect(contents.snapshot).to.deep.equal({ index: 2, term: 1 });
    expect(Buffer.from(contents.peers!).toString()).to.equal("p");
    // Entry 4 of term 2 replaced 4 and 5.
    expect(indexesAndTerms(contents.entries)).to.deep.equal([
      [1, 1],
      [2, 1],
      [3, 1],
      [4, 2],
    ]);
  });

  it("takes a large batch, and single large records", async () => {
    const { wal } = await openWal(options(), identity);
    wal.append(entryRecords([...entries(1, 300, 1, 10_000), entry(301, 1, 3 << 20), entry(302)]));
    await wal.sync();
    await wal.close();
    const { payloads } = readSegment(fs.readFileSync(path.join(dir, segments()[0]!)));
    expect(payloads.length).to.be.within(5, 10);
    const { entries: read } = readWal(nodeDisk, dir, silentLogger, "look", testKeys());
    expect(read.map((e) => e.index)).to.deep.equal(Array.from({ length: 302 }, (_, i) => i + 1));
    expect(read[300]!.data.length).to.equal(3 << 20);
  });

  it("rotates, repeats what a segment needs, and releases old ones", async () => {
    const { wal } = await openWal(options(1024), identity);
    wal.append([{ kind: "hard-state", hardState: { term: 7, vote: 1, commit: 0 } }]);
    for (let i = 1; i <= 60; i++) {
      wal.append(entryRecords([entry(i, 7, 100)]));
      await wal.sync();
    }
    expect(segments().length).to.be.greaterThan(5);
    expect(indexesAndTerms(readWal(nodeDisk, dir, silentLogger, "look", testKeys()).entries).length).to.equal(60);
    wal.release(40);
    const kept = readWal(nodeDisk, dir, silentLogger, "look", testKeys());
    expect(kept.entries[0]!.index).to.be.within(30, 41);
    expect(kept.entries.at(-1)!.index).to.equal(60);
    expect(kept.hardState).to.deep.equal({ term: 7, vote: 1, commit: 0 });
    await wal.close();
  });

  it("refuses a missing segment and an old one that lost its end", async () => {
    const { wal } = await openWal(options(1024), identity);
    for (let i = 1; i <= 40; i++) {
      wal.append(entryRecords([entry(i, 1, 100)]));
      await wal.sync();
    }
    await wal.close();
    const [first, second] = segments();
    const bytes = fs.readFileSync(path.join(dir, first!));
    fs.writeFileSync(path.join(dir, first!), bytes.subarray(0, readSegment(bytes).places.at(-1)!.at));
    expect(() => readWal(nodeDisk, dir, silentLogger, "look", testKeys())).to.throw(
      TswarmError,
      "its records ended at",
    );
    fs.writeFileSync(path.join(dir, first!), bytes);
    fs.rmSync(path.join(dir, second!));
    expect(() => readWal(nodeDisk, dir, silentLogger, "look", testKeys())).to.throw(TswarmError, "is missing");
  });

  it("keeps whole records at every point where the file may be cut off", async () => {
    const { bytes, ends } = await smallLog();
    const whole = readSegment(bytes);
    expect(whole.tail).to.equal("clean");
    for (let cut = 0; cut <= ends[4]!; cut++) {
      const shorter = readSegment(bytes.subarray(0, cut));
      const zeroed = Buffer.from(bytes);
      zeroed.fill(0, cut);
      for (const read of [shorter, readSegment(zeroed)]) {
        expect(read.tail, `cut at ${cut}`).to.not.equal("corrupt");
        expect(whole.payloads.slice(0, read.payloads.length)).to.deep.equal(read.payloads);
        const complete = ends.filter((end) => end <= cut).length;
        // The header record comes first; padding behind the last record may be cut without loss.
        expect(read.payloads.length).to.be.oneOf([complete, complete + 1, complete + 2]);
      }
    }
  });

  it("refuses every flipped bit in synced records", async () => {
    const { bytes, ends } = await smallLog();
    const whole = readSegment(bytes).payloads;
    let refused = 0;
    for (let at = 0; at < ends[4]!; at++) {
      for (let bit = 0; bit < 8; bit++) {
        const flipped = Buffer.from(bytes);
        flipped[at]! ^= 1 << bit;
        const read = readSegment(flipped);
        if (read.tail === "corrupt") refused++;
        // Only padding may change without being noticed.
        else expect(read.payloads, `bit ${bit} of byte ${at}`).to.deep.equal(whole);
      }
    }
    expect(refused).to.be.greaterThan(ends[4]! * 6);
  });

  it("takes a flipped bit behind the end as torn, never as a record", async () => {
    const { bytes, ends } = await smallLog();
    for (let at = ends[4]!; at < ends[4]! + 64; at++) {
      const flipped = Buffer.from(bytes);
      flipped[at] = 0x10;
      const read = readSegment(flipped);
      expect(read.tail).to.equal("torn");
      expect(read.payloads.length).to.equal(readSegment(bytes).payloads.length);
    }
  });

  it("cuts a torn end with a copy kept, and goes on behind it", async () => {
    const { file, bytes, ends } = await smallLog();
    fs.writeFileSync(file, bytes.subarray(0, ends[4]! - 20));
    const { wal, contents } = await openWal(options(), null);
    expect(contents.entries.length).to.equal(4);
    expect(fs.readFileSync(`${file}.torn`).length).to.equal(ends[4]! - 20);
    wal.append(entryRecords([entry(5, 9)]));
    await wal.sync();
    await wal.close();
    expect(indexesAndTerms(readWal(nodeDisk, dir, silentLogger, "look", testKeys()).entries).at(-1)).to.deep.equal([
      5, 9,
    ]);
  });

  it("takes a hole in an unsynced batch as torn, in a synced one as corruption", async () => {
    const { wal } = await openWal(options(65536), identity);
    const file = path.join(dir, segments()[0]!);
    wal.append(entryRecords(entries(1, 3)));
    await wal.sync();
    const synced = readSegment(fs.readFileSync(file)).end;
    wal.append(entryRecords(entries(4, 6, 1, 2000)));
    await wal.sync();
    const hole = fs.readFileSync(file);
    hole.fill(0, synced, synced + 512);
    expect(readSegment(hole)).to.include({ tail: "torn", end: synced });
    wal.append(entryRecords([entry(7)]));
    await wal.sync();
    const known = fs.readFileSync(file);
    known.fill(0, synced, synced + 512);
    expect(readSegment(known)).to.include({ tail: "corrupt", end: synced });
    await wal.close();
    fs.writeFileSync(file, known);
    expect(await openWal(options(65536), null).catch((e) => e.message)).to.contain(`damaged at byte ${synced}`);
  });

  it("gathers what comes while a sync runs into one write and one sync", async () => {
    let syncs = 0;
    const counting: Disk = {
      ...nodeDisk,
      open: (file, mode) => {
        const real = nodeDisk.open(file, mode);
        const sync = () => {
          syncs++;
          return real.sync();
        };
        return file.endsWith(".tmp") ? real : { ...real, sync };
      },
    };
    await openWal(options(1 << 16, counting), identity).then(({ wal }) => wal.close());
    const { wal } = await openWal(options(1 << 16, counting), null);
    syncs = 0;
    const done: Promise<void>[] = [];
    for (let i = 1; i <= 100; i++) {
      wal.append(entryRecords([entry(i)]));
      done.push(wal.sync());
    }
    await Promise.all(done);
    expect(syncs).to.be.at.most(2);
    await wal.close();
    expect(readWal(nodeDisk, dir, silentLogger, "look", testKeys()).entries.length).to.equal(100);
  });

  it("fails for good after a failed sync", async () => {
    let fail = false;
    const failing: Disk = {
      ...nodeDisk,
      open: (file, mode) => {
        const real = nodeDisk.open(file, mode);
        return { ...real, sync: () => (fail ? Promise.reject(new Error("EIO")) : real.sync()) };
      },
    };
    const { wal } = await openWal(options(4096, failing), identity);
    fail = true;
    wal.append(entryRecords([entry(1)]));
    expect(await wal.sync().catch((e) => e.message)).to.equal("EIO");
    fail = false;
    expect(await wal.sync().catch((e) => e.message)).to.equal("EIO");
    await wal.close();
  });

  it("one folder has one owner", () => {
    const release = nodeDisk.lock(dir);
    expect(() => nodeDisk.lock(dir)).to.throw(TswarmError, "in use");
    release();
    // A process that is gone does not hold it.
    fs.writeFileSync(path.join(dir, "lock"), "4194303 1\n");
    nodeDisk.lock(dir)();
  });
});
