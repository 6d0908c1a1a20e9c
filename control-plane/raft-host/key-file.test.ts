import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { expect } from "chai";
import { createKeyAndRequest } from "#base/node/pki.ts";
import type { BoxKey } from "#base/node/sealed-box.ts";
import type { Disk } from "#control-plane/raft-host/disk.ts";
import { createKeyFile, hasKeyFile, nodeWrappingKey, openKeyFile } from "#control-plane/raft-host/key-file.ts";
import { nodeDisk } from "#control-plane/raft-host/node-disk.ts";

describe("key file", () => {
  let dir: string;
  let a: BoxKey;
  let b: BoxKey;
  before(async () => {
    [a, b] = (await Promise.all([createKeyAndRequest(), createKeyAndRequest()])).map(({ keyPem }) =>
      nodeWrappingKey(keyPem),
    ) as [BoxKey, BoxKey];
  });
  beforeEach(() => {
    dir = fs.mkdtempSync(path.join(os.tmpdir(), "tswarm-keys-"));
  });
  afterEach(() => fs.rmSync(dir, { recursive: true, force: true }));
  const bytes = () => fs.readFileSync(path.join(dir, "keys"));

  it("gives the same keys after it was opened again, only for those who wrapped it", () => {
    const made = createKeyFile(nodeDisk, dir, a);
    expect(fs.statSync(path.join(dir, "keys")).mode & 0o777).to.equal(0o600);
    expect(openKeyFile(nodeDisk, dir, [b, a]).current()).to.deep.equal(made.current());
    expect(() => openKeyFile(nodeDisk, dir, [b]))
      .to.throw()
      .with.property("code", "forbidden");
    made.add(b);
    expect(openKeyFile(nodeDisk, dir, [b]).current()).to.deep.equal(made.current());
    made.keepOnly(b);
    expect(() => openKeyFile(nodeDisk, dir, [a]))
      .to.throw()
      .with.property("code", "forbidden");
    expect(openKeyFile(nodeDisk, dir, [b]).current()).to.deep.equal(made.current());
  });

  it("keeps former data keys until no file needs them", () => {
    const made = createKeyFile(nodeDisk, dir, a);
    const first = made.current();
    made.rotate(7, a);
    made.rotate(8, a);
    const again = openKeyFile(nodeDisk, dir, [a]);
    expect(again.lockVersion).to.equal(8);
    expect(again.current().id).to.equal(3);
    expect(again.get(first.id)).to.deep.equal(first.key);
    again.retain(new Set([2]));
    expect(again.get(1)).to.equal(undefined);
    again.retain(new Set());
    const last = openKeyFile(nodeDisk, dir, [a]);
    expect([1, 2, 3].map((id) => last.get(id) !== undefined)).to.deep.equal([false, false, true]);
  });

  it("shows no key, and is refused with any byte changed", () => {
    const made = createKeyFile(nodeDisk, dir, a);
    const good = bytes();
    const { key } = made.current();
    for (const form of ["base64", "hex", "latin1"] as const)
      expect(good.toString("latin1")).to.not.include(Buffer.from(key).toString(form));
    for (let at = 0; at < good.length - 1; at++) {
      const bad = Buffer.from(good);
      bad[at]! ^= 1;
      fs.writeFileSync(path.join(dir, "keys"), bad);
      let opened: Uint8Array | undefined;
      try {
        opened = openKeyFile(nodeDisk, dir, [a]).current().key;
      } catch (error) {
        expect((error as { code: string }).code).to.be.oneOf(["internal", "forbidden", "unsupported"]);
      }
      // Some bits of base64 mean nothing.
      if (opened) expect(opened).to.deep.equal(Buffer.from(key));
    }
  });

  it("is the former or the new one wherever writing it is cut off", () => {
    const made = createKeyFile(nodeDisk, dir, a);
    const { key } = made.current();
    for (let steps = 0; ; steps++) {
      let left = steps;
      const step = () => {
        if (left-- === 0) throw new Error("power");
      };
      const failing: Disk = {
        ...nodeDisk,
        open: (name, mode) => {
          step();
          const file = nodeDisk.open(name, mode);
          return {
            ...file,
            write: (data, at) => {
              file.write(data.subarray(0, data.length / 2), at);
              step();
              file.write(data, at);
            },
            syncNow: () => {
              step();
              file.syncNow();
            },
          };
        },
        rename: (from, to) => {
          step();
          nodeDisk.rename(from, to);
        },
      };
      const opened = openKeyFile(failing, dir, [a]);
      try {
        opened.add(b);
      } catch {
        // A step that failed: what is on disk is still for `a`, and what is in memory says the same.
        expect(opened.openedBy).to.deep.equal([a.id]);
        expect(openKeyFile(nodeDisk, dir, [a]).openedBy).to.deep.equal([a.id]);
        expect(openKeyFile(nodeDisk, dir, [a]).current().key).to.deep.equal(Buffer.from(key));
        continue;
      }
      expect(steps).to.be.greaterThan(3);
      expect(openKeyFile(nodeDisk, dir, [b]).current().key).to.deep.equal(Buffer.from(key));
      expect(hasKeyFile(nodeDisk, dir)).to.equal(true);
      break;
    }
  });
});
