import { createHash } from "node:crypto";
import { expect } from "chai";
import { TswarmError } from "#base/errors.ts";
import { contentsOf, stateOf } from "#control-plane/backup/contents.ts";
import { decodeBackup, encodeBackup } from "#control-plane/backup/format.ts";
import { CLUSTER, oldState } from "#control-plane/recovery/old-manager.ts";

const HEADER = { clusterId: CLUSTER, createdAt: 1_000, index: 10, version: "0.1.0", raftIds: [1, 2, 3] };

/** Cut into pieces of `size`, as a file or a network does. */
async function* inPieces(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}
const decode = (bytes: Uint8Array, size = 1 << 16) => decodeBackup(inPieces(bytes, size));

describe("backup", () => {
  const file = Buffer.concat([...encodeBackup(HEADER, oldState().snapshot())]);
  const refusal = (work: Promise<unknown>): Promise<TswarmError> =>
    work.then(
      () => expect.fail("was not refused"),
      (error) => TswarmError.from(error),
    );
  /** With a right checksum: what somebody made who wants to break something. */
  const resealed = (body: Uint8Array): Buffer => Buffer.concat([body, createHash("sha256").update(body).digest()]);

  it("is read back, however it is cut into pieces, and says what it holds", async () => {
    for (const size of [1, 7, 1 << 16]) {
      const backup = await decode(file, size);
      expect(backup.header).to.deep.equal(HEADER);
      expect(backup.bytes).to.equal(file.length);
      expect(contentsOf(backup)).to.deep.equal({
        ...{ clusterId: CLUSTER, clusterName: "default", createdAt: 1_000, index: 10, version: "0.1.0" },
        ...{ bytes: file.length, nodes: 4, services: 2, networks: 4, tasks: 0 },
      });
      expect(stateOf(backup).cluster()?.caKeyPem.toString()).to.equal("key");
    }
  });

  it("cut off anywhere it is refused", async () => {
    for (let length = 0; length < file.length; length++) {
      const error = await refusal(decode(file.subarray(0, length)));
      expect(error.code, String(length)).to.equal("invalid");
      expect(error.message, String(length)).to.match(/cut off|not a backup/);
    }
    expect((await refusal(decode(Buffer.concat([file, Buffer.from("x")])))).message).to.contain("follows its end");
  });

  it("with any bit flipped it is refused", async () => {
    for (let bit = 0; bit < file.length * 8; bit += 5) {
      const bytes = Buffer.from(file);
      bytes[bit >> 3]! ^= 1 << (bit & 7);
      expect((await refusal(decode(bytes))).code, String(bit)).to.be.oneOf(["invalid", "unsupported"]);
    }
  });

  it("tells what is no backup, what is of a newer version, and one of another cluster than it says", async () => {
    expect((await refusal(decode(Buffer.from("something else entirely")))).message).to.contain("not a backup");
    expect(
      (await refusal(decode(Buffer.from(file.toString("latin1").replace("TSWBACK1", "TSWBACK2"), "latin1")))).code,
    ).to.equal("unsupported");
    const other = await decode(Buffer.concat([...encodeBackup({ ...HEADER, clusterId: "c2" }, oldState().snapshot())]));
    expect(() => stateOf(other)).to.throw(TswarmError, "does not hold the cluster");
    const empty = await decode(Buffer.concat([...encodeBackup(HEADER, [])]));
    expect(() => stateOf(empty)).to.throw(TswarmError);
  });

  it("with impossible contents under a right checksum it is refused, never worse", async () => {
    const magic = Buffer.from("TSWBACK1");
    const huge = Buffer.from([0xff, 0xff, 0xff, 0xff]);
    expect((await refusal(decode(resealed(Buffer.concat([magic, huge]))))).message).to.contain("impossible length");
    expect((await refusal(decode(resealed(Buffer.concat([magic, Buffer.alloc(4)]))))).message).to.contain("no header");
    const wild = Buffer.from([0, 0, 0, 2, 0xff, 0xff, 0, 0, 0, 0]);
    expect(await refusal(decode(resealed(Buffer.concat([magic, wild]))))).to.be.instanceOf(TswarmError);
  });
});
