// Decoders of the replicated log: what comes from the disk and from other members.
import path from "node:path";
import { crc32 } from "node:zlib";
import { silentLogger } from "#base/log.ts";
import { decodeConfChange, encodeConfChange } from "#control-plane/raft/conf-change.ts";
import type { Message } from "#control-plane/raft/types.ts";
import { decodeFrame, encodeFrame } from "#control-plane/raft-host/frame-codec.ts";
import { memoryDisk } from "#control-plane/raft-host/memory-disk.ts";
import { decodeMessage, encodeMessage } from "#control-plane/raft-host/message-codec.ts";
import { decodePeers, encodePeers } from "#control-plane/raft-host/peers.ts";
import { checkSnapshot, streamSnapshot, writeSealed } from "#control-plane/raft-host/snapshot-file.ts";
import { encodeHeader, encodeStream, type SnapshotHeader } from "#control-plane/raft-host/snapshot-stream.ts";
import { testKeys } from "#control-plane/raft-host/test-keys.ts";
import { entryRecords, openWal, segmentName } from "#control-plane/raft-host/wal.ts";
import { frameSize, writeFrame } from "#control-plane/raft-host/wal-frame.ts";
import { readWal } from "#control-plane/raft-host/wal-read.ts";
import { decodeRecord, encodeRecord, type WalRecord } from "#control-plane/raft-host/wal-record.ts";
import { recordSealer } from "#control-plane/raft-host/wal-seal.ts";
import type { Target } from "#test-cluster/fuzz/target.ts";

const e = { from: 1, to: 2 ** 40, term: 300 };
const conf = { voters: [1, 2, 300], learners: [4], removed: [5] };
const change = encodeConfChange({ kind: "add-voter", id: 4, context: Buffer.from("context") });
const entries = [
  { term: 1, index: 1, type: "conf", data: change },
  { term: 2 ** 33, index: 2, type: "normal", data: Buffer.alloc(100, 3) },
] as const;
const messages: Message[] = [
  { ...e, kind: "append", prevIndex: 127, prevTerm: 128, commit: 5, entries },
  { ...e, kind: "append-response", index: 4, reject: true, hintIndex: 2, hintTerm: 1 },
  { ...e, kind: "vote", lastIndex: 1, lastTerm: 2, transfer: true },
  { ...e, kind: "snapshot", snapshot: { index: 9, term: 8, conf } },
  { ...e, kind: "read-index-response", context: 2 ** 48 - 1, index: 2 },
];
const peers = encodePeers([1, 2].map((raftId) => ({ raftId, nodeId: `n${raftId}`, addr: `192.0.2.${raftId}:4242` })));
const key = { id: 1, salt: Buffer.alloc(32, 1) };
const records: WalRecord[] = [
  { kind: "header", header: { raftId: 3, clusterId: "c", seq: 1, previousEnd: 0, key } },
  { kind: "header", header: { raftId: 3, clusterId: "c", seq: 1, previousEnd: 0, key: null } },
  ...entryRecords(entries),
  { kind: "hard-state", hardState: { term: 7, vote: 3, commit: 2 ** 40 } },
  { kind: "snapshot", index: 9, term: 8, reset: true },
  { kind: "peers", data: peers },
  { kind: "key", key },
];

const framed = (payloads: readonly Uint8Array[]): Buffer => {
  const bytes = Buffer.alloc(payloads.reduce((sum, p) => sum + frameSize(p), 0));
  payloads.reduce((at, payload) => {
    writeFrame(bytes, at, payload, 0);
    return at + frameSize(payload);
  }, 0);
  return bytes;
};

const segment = segmentName(1, 1);
const readSegmentFile = (bytes: Buffer): unknown =>
  readWal(memoryDisk(new Map([[path.join("/w", segment), bytes]])), "/w", silentLogger, "look", testKeys());

const header: SnapshotHeader = { clusterId: "c", meta: { index: 300, term: 2, conf }, peers };
const checkFile = (bytes: Buffer): Promise<unknown> =>
  checkSnapshot(memoryDisk(new Map([["/s", bytes]])), "/s", testKeys());
const collect = async (pieces: AsyncIterable<Uint8Array>): Promise<Buffer> => {
  const parts: Uint8Array[] = [];
  for await (const piece of pieces) parts.push(piece);
  return Buffer.concat(parts);
};

/** Records cut out of the input by its first byte of each part. */
const parts = (input: Buffer): Buffer[] => {
  const found: Buffer[] = [];
  for (let at = 0; at < input.length && found.length < 8; at += 1 + input[at]!)
    if (input[at]! > 0) found.push(input.subarray(at + 1, at + 1 + input[at]!));
  return found;
};
const joined = (list: readonly Uint8Array[]): Buffer =>
  Buffer.concat(list.filter((p) => p.length < 256).flatMap((p) => [Buffer.from([p.length]), p]));

export const raftTargets: readonly Target[] = [
  {
    name: "raft message",
    open: async () => ({ samples: messages.map(encodeMessage), run: decodeMessage }),
  },
  {
    name: "raft frame",
    open: async () => ({
      samples: [encodeFrame({ clusterId: "abc", from: 1, to: 300, messages: messages.map(encodeMessage) })],
      run: decodeFrame,
    }),
  },
  { name: "change of members", open: async () => ({ samples: [change], run: decodeConfChange }) },
  { name: "members", open: async () => ({ samples: [peers], run: decodePeers }) },
  { name: "log record", open: async () => ({ samples: records.map(encodeRecord), run: decodeRecord }) },
  {
    name: "log segment",
    open: async () => {
      const disk = memoryDisk();
      const options = { dir: "/w", disk, segmentBytes: 1024, logger: silentLogger, keys: testKeys() };
      const { wal } = await openWal(options, { raftId: 3, clusterId: "c" });
      for (const record of records.slice(2)) {
        wal.append([record]);
        await wal.sync();
      }
      await wal.close();
      const plain = framed(records.slice(1, -1).map(encodeRecord));
      return { samples: [disk.read(path.join("/w", segment)), plain], run: readSegmentFile };
    },
  },
  {
    // Behind right checksums and the right key: what a broken writer could have left.
    name: "log records in a sealed segment",
    strict: false,
    open: async () => ({
      samples: [joined(records.map(encodeRecord)), joined(records.slice(2).map(encodeRecord))],
      run: (input) => {
        const [first, ...rest] = parts(input);
        const head = encodeRecord(records[0]!);
        const at = frameSize(head);
        const sealed = recordSealer(testKeys(), key, 1)(rest, { at, durable: 0 });
        readSegmentFile(framed([head, sealed]));
        if (first !== undefined) readSegmentFile(framed([first, ...rest]));
      },
    }),
  },
  {
    name: "snapshot file",
    open: async () => {
      const disk = memoryDisk();
      await writeSealed(disk, "/s", header, [Buffer.from("hello"), Buffer.alloc(300, 7)], testKeys());
      return {
        samples: [disk.read("/s"), await collect(streamSnapshot(disk, "/s", testKeys(), 64))],
        run: checkFile,
      };
    },
  },
  {
    name: "snapshot header",
    open: async () => ({
      samples: [encodeHeader(header)],
      run: async (input) => {
        // In a file whose checksums are right.
        const stream = collect(encodeStream({ header, chunks: (async function* () {})() }));
        const body = (await stream).subarray(16 + encodeHeader(header).length);
        const start = Buffer.concat([Buffer.from("TSWSNAP1"), Buffer.alloc(8), input, body]);
        start.writeUInt32LE(input.length, 8);
        start.writeUInt32LE(crc32(input), 12);
        await checkFile(start);
      },
    }),
  },
];
