import { expect } from "chai";
import type { Message } from "#control-plane/raft/types.ts";
import { decodeFrame, encodeFrame } from "#control-plane/raft-host/frame-codec.ts";
import { decodeMessage, encodeMessage } from "#control-plane/raft-host/message-codec.ts";
import { RaftFrame } from "#proto/gen/raft.ts";

const big = Number.MAX_SAFE_INTEGER;
const e = { from: 1, to: 2 ** 40, term: 300 };
const conf = { voters: [1, 2, 300], learners: [4], removed: [] };
const messages: Message[] = [
  { ...e, kind: "append", prevIndex: 127, prevTerm: 128, commit: big, entries: [] },
  {
    ...e,
    kind: "append",
    prevIndex: 0,
    prevTerm: 0,
    commit: 0,
    entries: [
      { term: 1, index: 1, type: "conf", data: Buffer.from("cc") },
      { term: 2 ** 33, index: 2, type: "normal", data: Buffer.alloc(5000, 3) },
      { term: 3, index: 3, type: "normal", data: Buffer.alloc(0) },
    ],
  },
  { ...e, kind: "append-response", index: 4, reject: true, hintIndex: 2, hintTerm: 1 },
  { ...e, kind: "heartbeat", commit: 5, round: 6 },
  { ...e, kind: "heartbeat-response", round: 2 ** 45 },
  { ...e, kind: "vote", lastIndex: 1, lastTerm: 2, transfer: true },
  { ...e, kind: "pre-vote", lastIndex: 1, lastTerm: 2, transfer: false },
  { ...e, kind: "vote-response", reject: false },
  { ...e, kind: "pre-vote-response", reject: true },
  { ...e, kind: "snapshot", snapshot: { index: 9, term: 8, conf } },
  { ...e, kind: "timeout-now" },
  { ...e, kind: "read-index", context: 2 ** 48 - 1 },
  { ...e, kind: "read-index-response", context: 1, index: 2 },
  { ...e, kind: "transfer-leader", target: 3 },
];

describe("message codec", () => {
  it("gives back every kind of message", () => {
    for (const m of messages) expect(decodeMessage(encodeMessage(m)), m.kind).to.deep.equal(m);
  });

  it("refuses cut, longer and unknown bytes", () => {
    for (const m of messages) {
      const bytes = encodeMessage(m);
      for (let cut = 0; cut < Math.min(bytes.length, 200); cut++) {
        expect(() => decodeMessage(bytes.subarray(0, cut)), `${m.kind} cut at ${cut}`).to.throw();
      }
      expect(() => decodeMessage(Buffer.concat([bytes, Buffer.from([0])]))).to.throw("left over");
    }
    expect(() => decodeMessage(Buffer.from([200, 1, 1, 1]))).to.throw("unknown kind");
  });
});

describe("frame codec", () => {
  it("is the protobuf of proto/v1/raft.proto", () => {
    const frame = { clusterId: "abc", from: 1, to: 300, messages: [Buffer.from("x"), Buffer.alloc(300, 1)] };
    expect(RaftFrame.decode(encodeFrame(frame))).to.deep.equal(frame);
    expect(decodeFrame(RaftFrame.encode(frame).finish())).to.deep.equal({
      ...frame,
      messages: frame.messages.map((m) => new Uint8Array(m)),
    });
  });

  it("skips fields it does not know", () => {
    const extra = Buffer.from([0x28, 0x96, 0x01, 0x32, 0x02, 0x61, 0x62]);
    const frame = { clusterId: "c", from: 1, to: 2, messages: [] };
    expect(decodeFrame(Buffer.concat([encodeFrame(frame), extra]))).to.deep.equal(frame);
  });
});
