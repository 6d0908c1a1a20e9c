import { expect } from "chai";
import { decodeMessage, encodeMessage } from "#control-plane/raft-host/message-codec.ts";
import { decodeRecord, encodeRecord } from "#control-plane/raft-host/wal-record.ts";

const COUNT = 2000;
const SIZE = 300;
/** Of memory, for each byte of entries. */
const AT_MOST = 1.3;

const entryOf = (index: number) => ({ term: 1, index, type: "normal" as const, data: Buffer.alloc(SIZE, index) });

const decodedMessage = (index: number, read: (bytes: Buffer) => Uint8Array): Uint8Array => {
  const append = { kind: "append", from: 1, to: 2, term: 1, prevIndex: index - 1, prevTerm: 1, commit: 0 } as const;
  const m = decodeMessage(read(encodeMessage({ ...append, entries: [entryOf(index)] })));
  return m.kind === "append" ? m.entries[0]!.data : expect.fail(m.kind);
};

const decodedRecord = (index: number, read: (bytes: Buffer) => Uint8Array): Uint8Array => {
  const record = decodeRecord(read(encodeRecord({ kind: "entry", entry: entryOf(index) })));
  return record.kind === "entry" ? record.entry.data : expect.fail(record.kind);
};

/** As they are read: in the middle of 64 KiB that are used again. */
const fromNetwork = (bytes: Buffer): Uint8Array => {
  const read = Buffer.alloc(1 << 16);
  bytes.copy(read, 99);
  return read.subarray(99, 99 + bytes.length);
};

/** As small buffers are made: beside other ones in the pool. */
const fromPool = (bytes: Buffer): Uint8Array => {
  Buffer.allocUnsafe(20_000);
  return Buffer.from(bytes);
};

describe("memory of entries", () => {
  for (const decoded of [decodedMessage, decodedRecord])
    for (const read of [fromNetwork, fromPool])
      it(`keeps nothing but entries: ${decoded.name} ${read.name}`, () => {
        const kept = Array.from({ length: COUNT }, (_, i) => decoded(i + 1, read));
        for (const [i, data] of kept.entries()) expect(Buffer.from(data).equals(entryOf(i + 1).data)).to.equal(true);
        const memory = [...new Set(kept.map((data) => data.buffer))].reduce((sum, b) => sum + b.byteLength, 0);
        expect(memory / (COUNT * SIZE)).to.be.below(AT_MOST);
      });
});
