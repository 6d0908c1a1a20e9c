import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { expect } from "chai";
import { nodeDisk } from "#control-plane/raft-host/node-disk.ts";
import {
  checkSnapshot,
  listSnapshots,
  readSnapshot,
  removeOldSnapshots,
  writeSnapshot,
} from "#control-plane/raft-host/snapshot-file.ts";
import { testKeys } from "#control-plane/raft-host/test-keys.ts";

const header = (index: number) => ({
  clusterId: "c",
  meta: { index, term: 2, conf: { voters: [1, 2], learners: [3], removed: [9] } },
  peers: Buffer.from("peers"),
});

describe("snapshot file", () => {
  let dir: string;
  beforeEach(() => {
    dir = fs.mkdtempSync(path.join(os.tmpdir(), "tswarm-snap-"));
  });
  afterEach(() => fs.rmSync(dir, { recursive: true, force: true }));

  it("gives back header and chunks", async () => {
    const big = Buffer.alloc(700_000, 7);
    const file = await writeSnapshot(nodeDisk, dir, header(5), [Buffer.from("a"), big, Buffer.alloc(0)], testKeys());
    expect(await checkSnapshot(nodeDisk, file, testKeys())).to.deep.equal(header(5));
    const chunks: Buffer[] = [];
    for await (const chunk of readSnapshot(nodeDisk, file, testKeys())) chunks.push(chunk);
    expect(Buffer.concat(chunks).equals(Buffer.concat([Buffer.from("a"), big]))).to.equal(true);
  });

  it("refuses every cut and every flipped bit", async () => {
    const file = await writeSnapshot(
      nodeDisk,
      dir,
      header(5),
      [Buffer.from("hello"), Buffer.from("world")],
      testKeys(),
    );
    const bytes = fs.readFileSync(file);
    const refused = async (damaged: Buffer) => {
      fs.writeFileSync(file, damaged);
      return checkSnapshot(nodeDisk, file, testKeys()).then(
        () => "accepted",
        (e) => e.code,
      );
    };
    for (let cut = 0; cut < bytes.length; cut++) {
      expect(await refused(bytes.subarray(0, cut)), `cut at ${cut}`).to.equal("internal");
    }
    for (let at = 0; at < bytes.length; at++) {
      const flipped = Buffer.from(bytes);
      flipped[at]! ^= 1 << (at % 8);
      expect(await refused(flipped), `byte ${at}`).to.equal("internal");
    }
    expect(await refused(Buffer.concat([bytes, Buffer.from("x")]))).to.equal("internal");
  });

  it("keeps the newest two and leaves nothing unfinished under a final name", async () => {
    for (const index of [10, 300, 20])
      await writeSnapshot(nodeDisk, dir, header(index), [Buffer.from("x")], testKeys());
    const broken = function* () {
      yield Buffer.from("x");
      throw new Error("state");
    };
    expect(await writeSnapshot(nodeDisk, dir, header(900), broken(), testKeys()).catch((e) => e.message)).to.equal(
      "state",
    );
    removeOldSnapshots(nodeDisk, dir);
    const kept = await Promise.all(listSnapshots(nodeDisk, dir).map((f) => checkSnapshot(nodeDisk, f, testKeys())));
    expect(kept.map((h) => h.meta.index)).to.deep.equal([300, 20]);
  });
});
