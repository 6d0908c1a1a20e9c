// A log of three segments, damaged at every byte in every way: cut off there, or one bit flipped. What must come of it is
// worked out from what was written where, not by the code that reads:
//   kept     everything is read                torn  what is behind a place in the last segment is cut, and a copy stays
//   refused  a member that lost what it promised must not start
import path from "node:path";
import { expect } from "chai";
import { TswarmError } from "#base/errors.ts";
import { silentLogger } from "#base/log.ts";
import type { Entry, HardState } from "#control-plane/raft/types.ts";
import { type MemoryDisk, memoryDisk } from "#control-plane/raft-host/memory-disk.ts";
import { testKeys } from "#control-plane/raft-host/test-keys.ts";
import { entryRecords, openWal, type Wal, type WalOptions } from "#control-plane/raft-host/wal.ts";
import { readWal, type WalContents } from "#control-plane/raft-host/wal-read.ts";

const DIR = "/wal";
const SEGMENT = 480;

const entry = (index: number, term: number, size = 20): Entry => ({
  term,
  index,
  type: "normal",
  data: Buffer.alloc(size, index),
});

/** A record in a file: from `at` to the end of its last byte, then padding up to `end`. What it says, when it is kept. */
type Written = { at: number; data: number; end: number; entries: Entry[]; hardState: HardState | null };
type Segment = { name: string; frames: Written[] };
type Outcome =
  | { is: "refused" }
  /** `frames`: so many of the last segment's are read. */
  | { is: "kept" | "torn"; frames: number };

const walOptions = (disk: MemoryDisk, life: number): WalOptions => ({
  dir: DIR,
  disk,
  segmentBytes: SEGMENT,
  logger: silentLogger,
  keys: testKeys(life),
});

/** The records of one write: length in the first four bytes, then padding to 16 (see wal-frame.ts). */
const framesIn = (at: number, bytes: Buffer): Written[] => {
  const frames: Written[] = [];
  for (let from = 0; from < bytes.length; ) {
    const data = from + 16 + bytes.readUInt32LE(from) + 1;
    const end = Math.ceil(data / 16) * 16;
    frames.push({ at: at + from, data: at + data, end: at + end, entries: [], hardState: null });
    from = end;
  }
  return frames;
};

/** Writes a log, every batch of it synced, and notes which frame says what. */
const writeLog = async (): Promise<{ disk: MemoryDisk; segments: Segment[] }> => {
  const disk = memoryDisk();
  const segments: Segment[] = [];
  let seen = 0;
  let newest: HardState | null = null;
  const note = (entries: Entry[], hardState: HardState | null): void => {
    newest = hardState ?? newest;
    for (const { file, at, bytes } of disk.written.slice(seen)) {
      const frames = framesIn(at, bytes);
      const last = frames.at(-1)!;
      if (at === 0) {
        // The beginning of a segment repeats the hard state. It is written under a temporary name.
        last.hardState = newest;
        segments.push({ name: "", frames });
        continue;
      }
      expect(file).to.match(/\.wal$/);
      segments.at(-1)!.frames.push(...frames);
      last.entries = entries;
      last.hardState = hardState;
    }
    seen = disk.written.length;
  };
  let wal: Wal;
  ({ wal } = await openWal(walOptions(disk, 1), { raftId: 3, clusterId: "c" }));
  note([], null);
  const put = async (entries: Entry[], hardState: HardState | null) => {
    wal.append(entryRecords(entries));
    if (hardState !== null) wal.append([{ kind: "hard-state", hardState }]);
    await wal.sync();
    note(entries, hardState);
  };
  for (let i = 1; segments.length < 3 || segments[2]!.frames.length < 5; i++) {
    const term = i < 6 ? 1 : 2;
    const size = i % 4 === 0 ? 150 : 20;
    await put([entry(i, term, size)], i % 2 === 0 ? { term, vote: 1, commit: i - 1 } : null);
    // An entry of another leader takes the place of the newest, and the process starts anew.
    if (i === 7) await put([entry(7, 3), entry(8, 3)], { term: 3, vote: 2, commit: 6 });
    if (i === 7) i = 8;
    if (i === 10) {
      await wal.close();
      ({ wal } = await openWal(walOptions(disk, 2), null));
    }
  }
  await wal.close();
  disk.list(DIR).forEach((name, i) => {
    if (name.endsWith(".tmp")) disk.remove(path.join(DIR, name));
    else segments[i]!.name = name;
  });
  return { disk, segments };
};

/** What the frames say together. */
const contentsOf = (segments: readonly Segment[], framesOfLast: number): Pick<WalContents, "entries" | "hardState"> => {
  let entries: Entry[] = [];
  let hardState: HardState | null = null;
  for (const [i, { frames }] of segments.entries())
    for (const frame of i === segments.length - 1 ? frames.slice(0, framesOfLast) : frames) {
      for (const e of frame.entries) entries = [...entries.filter((other) => other.index < e.index), e];
      hardState = frame.hardState ?? hardState;
    }
  return { entries, hardState };
};
/** As text: quick to compare, many thousand times. */
const textOf = ({ entries, hardState }: Pick<WalContents, "entries" | "hardState">): string =>
  [
    ...entries.map((e) => `${e.term}/${e.index} ${Buffer.from(e.data).toString("hex")}`),
    JSON.stringify(hardState),
  ].join("\n");

const afterCut = (segments: readonly Segment[], segment: number, length: number): Outcome => {
  const { frames } = segments[segment]!;
  const whole = frames.filter((frame) => frame.data <= length).length;
  if (segment < segments.length - 1)
    return length >= frames.at(-1)!.end ? { is: "kept", frames: 0 } : { is: "refused" };
  if (whole === 0) return { is: "refused" };
  const inside = frames.some((frame) => frame.at < length && length < frame.data);
  return { is: inside ? "torn" : "kept", frames: whole };
};

const afterFlip = (segments: readonly Segment[], segment: number, at: number): Outcome => {
  const { frames } = segments[segment]!;
  if (frames.some((frame) => frame.at <= at && at < frame.data)) return { is: "refused" };
  // Between records nothing is said. Behind the last one it could be the beginning of another.
  const isLast = segment === segments.length - 1;
  return { is: isLast && at >= frames.at(-1)!.end ? "torn" : "kept", frames: frames.length };
};

describe("write-ahead log, damaged", function () {
  this.timeout(60_000);
  let log: Awaited<ReturnType<typeof writeLog>>;
  let files: ReadonlyMap<string, Buffer>;
  /** What is read of the log with so many records of its last segment. */
  const texts: string[] = [];
  before(async () => {
    log = await writeLog();
    files = log.disk.files();
  });
  const damaged = (segment: number, bytes: Buffer): MemoryDisk =>
    memoryDisk(new Map(files).set(path.join(DIR, log.segments[segment]!.name), bytes));
  const bytesOf = (segment: number): Buffer => files.get(path.join(DIR, log.segments[segment]!.name))!;

  const check = (disk: MemoryDisk, segment: number, expected: Outcome, what: string): void => {
    let contents: WalContents;
    try {
      contents = readWal(disk, DIR, silentLogger, "repair", testKeys());
    } catch (error) {
      if (!(error instanceof TswarmError)) throw error;
      expect(error.message, what).to.contain("is damaged at byte");
      expect("refused", what).to.equal(expected.is);
      return;
    }
    const copy = disk.list(DIR).find((name) => name.endsWith(".torn"));
    const is = copy === undefined ? "kept" : "torn";
    expect(is, what).to.equal(expected.is);
    if (expected.is === "refused") return;
    const frames = segment === 2 ? expected.frames : log.segments[2]!.frames.length;
    texts[frames] ??= textOf(contentsOf(log.segments, frames));
    expect(textOf(contents), what).to.equal(texts[frames]);
  };

  it("has three segments with a hard state, a replaced entry and a restart in them", () => {
    expect(log.segments).to.have.length(3);
    expect(log.segments.map((s) => s.name).every((name) => name.endsWith(".wal"))).to.equal(true);
    check(memoryDisk(files), 2, { is: "kept", frames: log.segments[2]!.frames.length }, "undamaged");
    expect(contentsOf(log.segments, 99).entries.some((e) => e.term === 3)).to.equal(true);
  });

  it("cut off at any byte", () => {
    const seen = { kept: 0, torn: 0, refused: 0 };
    for (const segment of [0, 1, 2])
      for (let length = 0; length < bytesOf(segment).length; length++) {
        const expected = afterCut(log.segments, segment, length);
        seen[expected.is]++;
        check(
          damaged(segment, bytesOf(segment).subarray(0, length)),
          segment,
          expected,
          `segment ${segment} cut at ${length}`,
        );
      }
    expect(Math.min(...Object.values(seen))).to.be.greaterThan(30);
  });

  it("zeros from any byte of the last segment: lost writes look like that", () => {
    const bytes = bytesOf(2);
    const { frames } = log.segments[2]!;
    for (let from = 0; from < bytes.length; from++) {
      const zeroed = Buffer.from(bytes).fill(0, from);
      // A zero that was one before is not missed.
      const lost = bytes.findIndex((byte, i) => byte !== zeroed[i]);
      const whole = lost < 0 ? frames : frames.filter((frame) => frame.data <= lost);
      const begun = frames[whole.length];
      const trace = begun !== undefined && zeroed.subarray(begun.at).some((byte) => byte !== 0);
      const expected: Outcome =
        whole.length === 0 ? { is: "refused" } : { is: trace ? "torn" : "kept", frames: whole.length };
      check(damaged(2, zeroed), 2, expected, `zeros from ${from}`);
    }
  });

  it("any bit flipped", () => {
    const seen = { kept: 0, torn: 0, refused: 0 };
    for (const segment of [0, 1, 2]) {
      const bytes = bytesOf(segment);
      for (let at = 0; at < bytes.length; at++)
        for (let bit = 0; bit < 8; bit++) {
          const flipped = Buffer.from(bytes);
          flipped[at]! ^= 1 << bit;
          const expected = afterFlip(log.segments, segment, at);
          seen[expected.is]++;
          check(damaged(segment, flipped), segment, expected, `segment ${segment}, bit ${bit} of byte ${at}`);
        }
    }
    expect(Math.min(...Object.values(seen))).to.be.greaterThan(30);
  });

  it("goes on behind every cut, and has forgotten what was cut", async () => {
    const last = bytesOf(2);
    for (let length = 0; length < last.length; length += 7) {
      const expected = afterCut(log.segments, 2, length);
      if (expected.is === "refused") continue;
      const disk = damaged(2, last.subarray(0, length));
      const { wal, contents } = await openWal(walOptions(disk, 3), null);
      const next = entry((contents.entries.at(-1)?.index ?? 0) + 1, 9);
      wal.append(entryRecords([next]));
      await wal.sync();
      await wal.close();
      const again = readWal(disk, DIR, silentLogger, "look", testKeys());
      expect(again.entries, `cut at ${length}`).to.deep.equal([...contents.entries, next]);
    }
  });

  it("any combination of sectors lost of a write that was not synced: cut, never refused, never half", async () => {
    for (const size of [100, 900, 1700]) {
      const disk = memoryDisk(files);
      const { wal, contents } = await openWal({ ...walOptions(disk, 3), segmentBytes: 1 << 16 }, null);
      const firstIndex = contents.entries.at(-1)!.index + 1;
      wal.append(entryRecords([entry(firstIndex, 9, size), entry(firstIndex + 1, 9, 30)]));
      await wal.sync();
      await wal.close();
      const { file, at, bytes, before } = disk.written.at(-1)!;
      const sectors: [number, number][] = [];
      for (let from = at; from < at + bytes.length; ) {
        const to = Math.min((Math.floor(from / 512) + 1) * 512, at + bytes.length);
        sectors.push([from, to]);
        from = to;
      }
      for (let lost = 0; lost < 2 ** sectors.length; lost++) {
        const torn = Buffer.from(disk.read(file));
        sectors.forEach(([from, to], i) => {
          if ((lost >> i) & 1) before.copy(torn, from, from - at, to - at);
        });
        const read = readWal(memoryDisk(new Map(disk.files()).set(file, torn)), DIR, silentLogger, "look", testKeys());
        expect(read.entries.length, `sectors ${lost.toString(2)} of ${size} bytes lost`).to.equal(
          contents.entries.length + (lost === 0 ? 2 : 0),
        );
      }
    }
  });
});
