import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { expect } from "chai";
import { nodeDisk } from "#control-plane/raft-host/node-disk.ts";
import { readSnapshot } from "#control-plane/raft-host/snapshot-file.ts";
import { IncomingSnapshot } from "#control-plane/raft-host/snapshot-incoming.ts";
import { encodeStream } from "#control-plane/raft-host/snapshot-stream.ts";
import { testKeys } from "#control-plane/raft-host/test-keys.ts";

const header = {
  clusterId: "c",
  meta: { index: 9, term: 2, conf: { voters: [1], learners: [], removed: [] } },
  peers: Buffer.from("peers"),
};
const STATE = Array.from({ length: 20 }, (_, i) => Buffer.alloc(1000 + i, i + 1));

describe("a snapshot that arrives", () => {
  let dir: string;
  let stream: Buffer;

  beforeEach(async () => {
    dir = fs.mkdtempSync(path.join(os.tmpdir(), "tswarm-incoming-"));
    const chunks = async function* () {
      yield* STATE;
    };
    const parts: Buffer[] = [];
    for await (const part of encodeStream({ header, chunks: chunks() })) parts.push(part);
    stream = Buffer.concat(parts);
  });
  afterEach(() => fs.rmSync(dir, { recursive: true }));

  const begin = () => new IncomingSnapshot(nodeDisk, dir, { from: 2, index: 9, term: 2 }, testKeys());
  /** Bytes from `from` to `to`; breaks there when that is not the end. */
  async function* part(from: number, to = stream.length): AsyncGenerator<Uint8Array> {
    for (let at = from; at < to; at += 300) yield stream.subarray(at, Math.min(at + 300, to));
    if (to < stream.length) throw new Error("broke");
  }
  const failureOf = (promise: Promise<unknown>) => promise.then(String, (e: Error) => e.message);
  const stateOf = async (tmp: string) => {
    const read: Buffer[] = [];
    for await (const chunk of readSnapshot(nodeDisk, tmp, testKeys())) read.push(chunk);
    return read;
  };

  it("comes over as many connections as it needs", async () => {
    const incoming = begin();
    for (const to of [1, 20, 4000, 4001, 15_000]) {
      const take = incoming.connect();
      expect(await failureOf(take(part(incoming.offset, to)))).to.equal("broke");
      expect(incoming.offset).to.equal(to);
    }
    await incoming.connect()(part(incoming.offset));
    expect(await stateOf((await incoming.file).tmp)).to.deep.equal(STATE);
  });

  it("takes pieces of the newest connection only", async () => {
    const incoming = begin();
    const old = incoming.connect();
    const take = incoming.connect();
    expect(await failureOf(old(part(0)))).to.match(/another connection/);
    await take(part(incoming.offset));
    expect(await stateOf((await incoming.file).tmp)).to.deep.equal(STATE);
  });

  it("is refused when it is damaged or begins at the wrong place, and leaves nothing", async () => {
    const incoming = begin();
    const take = incoming.connect();
    await failureOf(take(part(0, 5000)));
    expect(await failureOf(incoming.connect()(part(incoming.offset + 1)))).to.match(/damaged/);
    expect(await failureOf(incoming.file)).to.match(/damaged/);
    expect(fs.readdirSync(dir)).to.deep.equal([]);
  });

  it("leaves nothing when it is not wanted any more", async () => {
    const incoming = begin();
    await failureOf(incoming.connect()(part(0, 5000)));
    incoming.abort();
    expect(await failureOf(incoming.file)).to.match(/damaged/);
    expect(fs.readdirSync(dir)).to.deep.equal([]);
  });
});
