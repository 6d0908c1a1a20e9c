import { createHash } from "node:crypto";
import { expect } from "chai";
import { TswarmError } from "#base/errors.ts";
import { seededRandom } from "#base/random.ts";
import { newUnlockKey } from "#base/unlock-key.ts";
import { contentsOf, stateOf } from "#control-plane/backup/contents.ts";
import { decodeBackup, encodeBackup, openBackup } from "#control-plane/backup/format.ts";
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
      expect(backup.header).to.deep.equal({ ...HEADER, key: "", salt: Buffer.alloc(0) });
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

  describe("of a cluster with autolock", () => {
    const key = (seed: number) => newUnlockKey(seededRandom(seed));
    const locked = Buffer.concat([
      ...encodeBackup(HEADER, oldState().snapshot(), { unlockKey: key(1), salt: Buffer.alloc(32, 7) }),
    ]);

    it("opens with the unlock key, and is complete without it", async () => {
      expect(locked.includes("certificate")).to.equal(false);
      expect(file.includes("certificate")).to.equal(true);
      const backup = await decode(locked);
      expect(backup.sealed).to.equal(true);
      expect(contentsOf(openBackup(backup, key(1)))).to.include({ nodes: 4, services: 2 });
      expect(() => openBackup(backup, key(2)))
        .to.throw(TswarmError, "another one")
        .with.property("code", "forbidden");
    });

    it("what was changed is refused, also under a right checksum", async () => {
      const body = locked.subarray(0, -32);
      let refused = 0;
      for (let bit = 0; bit < body.length * 8; bit += 11) {
        const bytes = Buffer.from(body);
        bytes[bit >> 3]! ^= 1 << (bit & 7);
        const opened = decode(resealed(bytes)).then((b) => contentsOf(openBackup(b, key(1))));
        refused += await opened.then(
          () => 0,
          () => 1,
        );
      }
      expect(refused).to.equal(Math.ceil((body.length * 8) / 11));
    });

    it("with pieces left out is refused", async () => {
      const pieces = [...encodeBackup(HEADER, oldState().snapshot(), { unlockKey: key(1), salt: Buffer.alloc(32, 7) })];
      for (let i = 1; i < pieces.length - 2; i++) {
        const fewer = Buffer.concat(pieces.filter((_, n) => n !== i && n < pieces.length - 1));
        const backup = await decode(resealed(fewer));
        expect(() => openBackup(backup, key(1)), String(i)).to.throw(TswarmError, "was changed");
      }
    });
  });
});
