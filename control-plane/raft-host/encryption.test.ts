// That what is on the disk says nothing without its key, and is taken only where it was written.
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { expect } from "chai";
import { type Logger, silentLogger } from "#base/log.ts";
import { createKeyAndRequest } from "#base/node/pki.ts";
import type { BoxKey } from "#base/node/sealed-box.ts";
import { createKeyFile, nodeWrappingKey, openKeyFile } from "#control-plane/raft-host/key-file.ts";
import type { DataKeys } from "#control-plane/raft-host/keys.ts";
import { openMemberFiles } from "#control-plane/raft-host/member-files.ts";
import { dropUnneededKeys } from "#control-plane/raft-host/needed-keys.ts";
import { nodeDisk } from "#control-plane/raft-host/node-disk.ts";
import { encodePeers } from "#control-plane/raft-host/peers.ts";
import { checkSnapshot, readSnapshot, streamSnapshot, writeSnapshot } from "#control-plane/raft-host/snapshot-file.ts";
import { receiveSnapshotFile } from "#control-plane/raft-host/snapshot-receive.ts";
import { testKeys } from "#control-plane/raft-host/test-keys.ts";
import { entryRecords, openWal } from "#control-plane/raft-host/wal.ts";
import { frameSize, readSegment, writeFrame } from "#control-plane/raft-host/wal-frame.ts";
import { readWal } from "#control-plane/raft-host/wal-read.ts";
import { encodeRecord } from "#control-plane/raft-host/wal-record.ts";

const SECRET = "the-secret-of-the-join-token";
const SEGMENT = 4096;
const codeOf = (error: { code: string; message: string }) => `${error.code} ${error.message}`;

describe("encryption at rest", () => {
  let dir: string;
  let own: BoxKey;
  before(async () => {
    own = nodeWrappingKey((await createKeyAndRequest()).keyPem);
  });
  beforeEach(() => {
    dir = fs.mkdtempSync(path.join(os.tmpdir(), "tswarm-sealed-"));
  });
  afterEach(() => fs.rmSync(dir, { recursive: true, force: true }));

  const entry = (index: number, text: string) => ({ term: 1, index, type: "normal", data: Buffer.from(text) }) as const;
  const walDir = () => path.join(dir, "wal");
  const open = (keys: DataKeys, logger: Logger = silentLogger) =>
    openWal({ dir: walDir(), disk: nodeDisk, segmentBytes: SEGMENT, logger, keys }, { raftId: 1, clusterId: "c" });
  const read = (keys: DataKeys) => readWal(nodeDisk, walDir(), silentLogger, "look", keys);
  const segments = () =>
    fs
      .readdirSync(walDir())
      .filter((n) => n.endsWith(".wal"))
      .map((n) => path.join(walDir(), n));
  /** A log of four batches of equal length. */
  const fourBatches = async (keys: DataKeys): Promise<string> => {
    const { wal } = await open(keys);
    for (let i = 1; i <= 4; i++) {
      wal.append(entryRecords([entry(i, `${SECRET} number ${i}`)]));
      await wal.sync();
    }
    await wal.close();
    return segments()[0]!;
  };

  it("no file of a member shows what is in its log, its members or its snapshots", async () => {
    const peers = [{ raftId: 1, nodeId: "node-one", addr: "manager-one.example:2377" }];
    const keys = createKeyFile(nodeDisk, dir, own);
    const options = {
      dir,
      disk: nodeDisk,
      logger: silentLogger,
      segmentBytes: SEGMENT,
      raftId: 1,
      clusterId: "c",
      keys,
    };
    const files = await openMemberFiles({ ...options, beginning: { kind: "bootstrap", members: peers } });
    const visible = () => {
      let bytes = 0;
      for (const found of fs.readdirSync(dir, { recursive: true, withFileTypes: true })) {
        if (!found.isFile()) continue;
        const content = fs.readFileSync(path.join(found.parentPath, found.name));
        bytes += content.length;
        for (const text of [SECRET, "node-one", "manager-one"])
          expect(content.includes(text), `${text} in ${found.name}`).to.equal(false);
      }
      expect(bytes).to.be.greaterThan(SEGMENT);
    };
    for (let i = 2; i <= 50; i++) {
      files.wal.append(entryRecords([entry(i, SECRET.repeat(5))]));
      await files.wal.sync();
    }
    visible();
    const meta = { index: 40, term: 1, conf: { voters: [1], learners: [], removed: [] } };
    const state = [Buffer.from(SECRET), Buffer.from(SECRET.repeat(100))];
    await writeSnapshot(nodeDisk, files.snapDir, { clusterId: "c", meta, peers: encodePeers(peers) }, state, keys);
    visible();
    await files.wal.close();
    files.unlock();
    // With the keys it is all there.
    const again = await openMemberFiles({ ...options, keys: openKeyFile(nodeDisk, dir, [own]), beginning: null });
    expect(again.peers).to.deep.equal(peers);
    expect(again.restart.snapshot).to.deep.equal(meta);
    expect(Buffer.from(again.restart.entries.at(-1)!.data).toString()).to.contain(SECRET);
    await again.wal.close();
    again.unlock();
  });

  it("another key is refused, never taken for a torn end, and changes nothing", async () => {
    const file = await fourBatches(testKeys());
    const before = fs.readFileSync(file);
    const other: DataKeys = { ...testKeys(), get: () => Buffer.alloc(32, 9) };
    expect(await open(other).catch(codeOf))
      .to.contain("internal")
      .and.contain("was not encrypted by this member");
    const none: DataKeys = { ...testKeys(), get: () => undefined };
    expect(await open(none).catch(codeOf)).to.contain("needs data key 1, which is not in this member's key file");
    expect(fs.readFileSync(file).equals(before)).to.equal(true);
    expect(fs.readdirSync(walDir()).filter((n) => n.endsWith(".torn"))).to.deep.equal([]);
  });

  it("a write that takes the place of a torn one is encrypted with another key", async () => {
    // Real salts: the seeded ones of the tests are made to repeat.
    const keys = createKeyFile(nodeDisk, dir, own);
    const one = "x".repeat(300);
    const two = "y".repeat(300);
    const { wal } = await open(keys);
    wal.append(entryRecords([entry(1, "first")]));
    await wal.sync();
    await wal.close();
    const [file] = segments() as [string];
    const bytes = fs.readFileSync(file);
    const { end } = readSegment(bytes);
    const written = async (text: string): Promise<Buffer> => {
      fs.writeFileSync(file, bytes);
      const { wal: again } = await open(keys);
      again.append(entryRecords([entry(2, text)]));
      await again.sync();
      await again.close();
      const { payloads, places } = readSegment(fs.readFileSync(file));
      const at = places.findIndex((p) => p.at >= end);
      return payloads[at + 1]!;
    };
    const [a, b] = [await written(one), await written(two)];
    expect(a.length).to.equal(b.length);
    const xor = a.map((byte, i) => byte ^ b[i]!);
    // With the same key and nonce the difference of what was written would show: here 300 times "x" ^ "y".
    let longest = 0;
    for (let i = 0, run = 0; i < xor.length; i++) {
      run = i > 0 && xor[i] === xor[i - 1] ? run + 1 : 0;
      longest = Math.max(longest, run);
    }
    expect(longest).to.be.lessThan(10);
  });

  for (const [what, change] of [
    ["two writes that changed places", (f: Buffer[]) => [f[0], f[1], f[3], f[2], f[4]]],
    ["a write in the place of another", (f: Buffer[]) => [f[0], f[1], f[2], f[2], f[4]]],
    ["a write that was taken out", (f: Buffer[]) => [f[0], f[1], f[3], f[4]]],
  ] as const)
    it(`refuses ${what}`, async () => {
      const file = await fourBatches(testKeys());
      const bytes = fs.readFileSync(file);
      const { places, end } = readSegment(bytes);
      const frames = places.map(({ at }, i) => bytes.subarray(at, places[i + 1]?.at ?? end));
      expect(new Set(frames.slice(1).map((f) => f.length)).size).to.equal(1);
      const changed = Buffer.alloc(bytes.length);
      Buffer.concat(change(frames) as Buffer[]).copy(changed);
      fs.writeFileSync(file, changed);
      // Its checksums are right.
      expect(readSegment(changed).tail).to.equal("clean");
      expect(() => read(testKeys())).to.throw("was not encrypted by this member for this place");
    });

  it("refuses a record that is not encrypted in a log that is", async () => {
    const file = await fourBatches(testKeys());
    const bytes = fs.readFileSync(file);
    const forged = encodeRecord(entryRecords([entry(5, "forged")])[0]!);
    writeFrame(bytes, readSegment(bytes).end, forged, 0);
    fs.writeFileSync(file, bytes);
    expect(() => read(testKeys())).to.throw("a record is not encrypted");
    // And a whole segment in the old format.
    const [first] = segments() as [string];
    fs.writeFileSync(first, bytes.subarray(0, readSegment(bytes).places.at(-1)!.at));
    const { end } = readSegment(fs.readFileSync(first));
    const header = { raftId: 1, clusterId: "c", seq: 2, previousEnd: end, key: null };
    const old = encodeRecord({ kind: "header", header });
    const segment = Buffer.alloc(frameSize(old));
    writeFrame(segment, 0, old, 0);
    fs.writeFileSync(path.join(walDir(), "00000002-0000000000000005.wal"), segment);
    expect(() => read(testKeys())).to.throw("a segment is not encrypted");
  });

  it("a log of the first version is read, and what follows is encrypted", async () => {
    fs.cpSync(path.join(import.meta.dirname, "testdata/format-1/member"), dir, { recursive: true });
    const keys = createKeyFile(nodeDisk, dir, own);
    const options = {
      dir,
      disk: nodeDisk,
      logger: silentLogger,
      segmentBytes: SEGMENT,
      raftId: 2,
      clusterId: "cluster1",
    };
    const files = await openMemberFiles({ ...options, keys, beginning: null });
    const old = segments();
    expect([...files.wal.keyIds()]).to.deep.equal([]);
    const last = files.restart.entries.at(-1)!.index;
    files.wal.append(entryRecords([{ ...entry(last + 1, SECRET), term: 7 }]));
    await files.wal.sync();
    await files.wal.close();
    files.unlock();
    const fresh = segments().filter((s) => !old.includes(s));
    expect(fresh).to.have.length(1);
    expect(fs.readFileSync(fresh[0]!).includes(SECRET)).to.equal(false);
    const again = await openMemberFiles({ ...options, keys, beginning: null });
    expect(Buffer.from(again.restart.entries.at(-1)!.data).toString()).to.equal(SECRET);
    expect(again.restart.entries.length).to.equal(files.restart.entries.length + 1);
    await again.wal.close();
    again.unlock();
  });

  it("a new data key begins a new segment; the old one goes when no segment and no snapshot needs it", async () => {
    const keys = createKeyFile(nodeDisk, dir, own);
    const snapDir = path.join(dir, "snap");
    fs.mkdirSync(snapDir);
    const snapshot = (index: number) =>
      writeSnapshot(
        nodeDisk,
        snapDir,
        {
          clusterId: "c",
          meta: { index, term: 1, conf: { voters: [1], learners: [], removed: [] } },
          peers: Buffer.alloc(0),
        },
        [Buffer.from(SECRET)],
        keys,
      );
    const { wal } = await open(keys);
    const put = async (index: number) => {
      wal.append(entryRecords([entry(index, SECRET)]));
      await wal.sync();
    };
    const known = () => [1, 2].filter((id) => openKeyFile(nodeDisk, dir, [own]).get(id) !== undefined);
    const drop = () => dropUnneededKeys(nodeDisk, { wal, snapDir, keys }, silentLogger);
    await put(1);
    const first = await snapshot(1);
    keys.rotate(1, own);
    await put(2);
    expect(segments()).to.have.length(2);
    expect(read(keys).entries).to.have.length(2);
    await drop();
    expect(known()).to.deep.equal([1, 2]);
    wal.release(1);
    expect(segments()).to.have.length(1);
    await drop();
    expect(known()).to.deep.equal([1, 2]);
    fs.rmSync(first);
    await snapshot(2);
    await drop();
    expect(known()).to.deep.equal([2]);
    await wal.close();
    expect(read(openKeyFile(nodeDisk, dir, [own])).entries.map((e) => e.index)).to.deep.equal([2]);
  });

  describe("snapshots", () => {
    const meta = { index: 5, term: 2, conf: { voters: [1, 2], learners: [], removed: [] } };
    const header = { clusterId: "c", meta, peers: Buffer.from("peers") };
    const state = ["one ".repeat(200), "two ".repeat(200), "six ".repeat(200)].map((s) => Buffer.from(s));
    const collect = async (pieces: AsyncIterable<Uint8Array>): Promise<Buffer> => {
      const parts: Uint8Array[] = [];
      for await (const piece of pieces) parts.push(piece);
      return Buffer.concat(parts);
    };
    const receiver = testKeys(7, 70);

    it("travels decrypted, and is encrypted again with the receiver's key", async () => {
      const file = await writeSnapshot(nodeDisk, dir, header, state, testKeys());
      const sent = await collect(streamSnapshot(nodeDisk, file, testKeys(), 300));
      expect(sent.subarray(0, 8).toString()).to.equal("TSWSNAP1");
      const pieces = async function* () {
        for (let at = 0; at < sent.length; at += 300) yield sent.subarray(at, at + 300);
      };
      const received = await receiveSnapshotFile(nodeDisk, dir, 2, pieces(), receiver);
      expect(received.header).to.deep.equal(header);
      expect(await collect(readSnapshot(nodeDisk, received.tmp, receiver))).to.deep.equal(Buffer.concat(state));
      expect(fs.readFileSync(received.tmp).includes("two two")).to.equal(false);
      expect(
        await checkSnapshot(nodeDisk, received.tmp, { ...testKeys(), get: () => undefined }).catch(codeOf),
      ).to.contain("needs data key 70");
      // Cut off, or with a byte changed on the way, nothing of it stays.
      for (const damage of [sent.subarray(0, sent.length - 3), Buffer.from(sent).fill(0, 500, 501)]) {
        const from = async function* () {
          yield damage;
        };
        expect(await receiveSnapshotFile(nodeDisk, dir, 3, from(), receiver).catch(codeOf)).to.contain("internal");
      }
      expect(fs.readdirSync(dir).filter((n) => n.startsWith("from-3"))).to.deep.equal([]);
    });

    it("pieces that changed places are refused, and a beginning that claims to be whole", async () => {
      const file = await writeSnapshot(nodeDisk, dir, header, state, testKeys());
      const bytes = fs.readFileSync(file);
      const pieces: Buffer[] = [];
      for (let at = 8; at < bytes.length; at += 8 + bytes.readUInt32LE(at))
        pieces.push(bytes.subarray(at, at + 8 + bytes.readUInt32LE(at)));
      expect(pieces).to.have.length(2 + state.length + 1);
      const [use, head, one, two, three, end] = pieces as [Buffer, Buffer, Buffer, Buffer, Buffer, Buffer];
      for (const wrong of [
        [use, head, two, one, three, end],
        [use, head, one, two, end],
        [use, head, one, three, end],
        [use, one, head, two, three, end],
      ]) {
        fs.writeFileSync(file, Buffer.concat([bytes.subarray(0, 8), ...wrong]));
        expect(await checkSnapshot(nodeDisk, file, testKeys()).catch(codeOf)).to.contain(
          "was not encrypted by this member",
        );
      }
    });
  });
});
