// Snapshot files cut off at every byte and with every bit flipped: always refused, in the form on disk, in the form that
// travels, and in that of the first version. There is no harmless damage in them.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "chai";
import { TswarmError } from "#base/errors.ts";
import { memoryDisk } from "#control-plane/raft-host/memory-disk.ts";
import { checkSnapshot, streamSnapshot, writeSealed } from "#control-plane/raft-host/snapshot-file.ts";
import { testKeys } from "#control-plane/raft-host/test-keys.ts";

const FILE = "/snap/a.snap";
const header = {
  clusterId: "c",
  meta: { index: 300, term: 2, conf: { voters: [1, 2], learners: [3], removed: [9] } },
  peers: Buffer.from("peers"),
};
const keys = testKeys();

const outcome = async (bytes: Buffer): Promise<string> => {
  try {
    await checkSnapshot(memoryDisk(new Map([[FILE, bytes]])), FILE, keys);
    return "accepted";
  } catch (error) {
    if (!(error instanceof TswarmError)) throw error;
    return error.code;
  }
};

const sealed = async (): Promise<Buffer> => {
  const disk = memoryDisk();
  await writeSealed(disk, FILE, header, [Buffer.from("hello"), Buffer.alloc(40, 7)], keys);
  return disk.read(FILE);
};
const travelling = async (): Promise<Buffer> => {
  const parts: Buffer[] = [];
  for await (const part of streamSnapshot(memoryDisk(new Map([[FILE, await sealed()]])), FILE, keys, 64))
    parts.push(part);
  return Buffer.concat(parts);
};
/** Long: one byte in eleven. */
const ofFirstVersion = async (): Promise<Buffer> =>
  readFileSync(join(import.meta.dirname, "testdata/format-1/member/snap/0000000000000013-00000005.snap"));

describe("snapshot file, damaged", function () {
  this.timeout(60_000);
  for (const [name, make, step] of [
    ["on disk", sealed, 1],
    ["travelling", travelling, 1],
    ["of the first version", ofFirstVersion, 11],
  ] as const) {
    it(`${name}: cut off at any byte, or with more behind it`, async () => {
      const bytes = await make();
      expect(await outcome(bytes)).to.equal("accepted");
      for (let length = 0; length < bytes.length; length += step)
        expect(await outcome(bytes.subarray(0, length)), `cut at ${length}`).to.equal("internal");
      expect(await outcome(Buffer.concat([bytes, Buffer.alloc(1)]))).to.equal("internal");
      expect(await outcome(Buffer.concat([bytes, bytes]))).to.equal("internal");
    });

    it(`${name}: any bit flipped`, async () => {
      const bytes = await make();
      for (let at = 0; at < bytes.length; at += step)
        for (let bit = 0; bit < 8; bit++) {
          const flipped = Buffer.from(bytes);
          flipped[at]! ^= 1 << bit;
          // The digit of the format may become that of a newer one.
          const codes = at === 7 ? ["internal", "unsupported"] : ["internal"];
          expect(await outcome(flipped), `bit ${bit} of byte ${at}`).to.be.oneOf(codes);
        }
    });
  }
});
