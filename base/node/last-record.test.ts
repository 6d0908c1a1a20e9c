import { appendFileSync, mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { appendRecord, readLastRecord } from "#base/node/last-record.ts";
import { mount, umount } from "#node-agent/runtime/mount.ts";

describe("the last record of a file", () => {
  let dir: string;
  let path: string;
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), "tswarm-"));
    path = join(dir, "f");
  });
  afterEach(() => rmSync(dir, { recursive: true }));
  const last = () => readLastRecord(path)?.toString();

  it("is what was written last", () => {
    appendRecord(path, Buffer.from("one"));
    expect(last()).to.equal("one");
    appendRecord(path, Buffer.from("second"));
    expect(last()).to.equal("second");
  });

  it("is the one before when the last is cut off anywhere", () => {
    appendRecord(path, Buffer.from("one"));
    const whole = statSync(path).size;
    appendRecord(path, Buffer.from("second"));
    const bytes = readFileSync(path);
    for (let size = bytes.length - 1; size >= whole; size--) {
      writeFileSync(path, bytes.subarray(0, size));
      expect(last(), `${size} bytes`).to.equal("one");
      appendRecord(path, Buffer.from("after it"));
      expect(last(), `${size} bytes, then another`).to.equal("after it");
    }
    writeFileSync(path, bytes);
    truncateSync(path, whole - 1);
    expect(last()).to.equal(undefined);
  });

  it("ends before zeros and before other bytes", () => {
    writeFileSync(path, Buffer.alloc(64));
    expect(last()).to.equal(undefined);
    rmSync(path);
    appendRecord(path, Buffer.from("one"));
    appendFileSync(path, Buffer.alloc(64, 0x11));
    expect(last()).to.equal("one");
  });

  it("outlives a write that a full disk cuts off", () => {
    mount("tmpfs", dir, "tmpfs", 0, "size=4k");
    try {
      appendRecord(path, Buffer.from("one"));
      expect(() => appendRecord(path, Buffer.alloc(5_000, 1))).to.throw(/ENOSPC/);
      expect(last()).to.equal("one");
      expect(() => appendRecord(path, Buffer.alloc(5_000, 1))).to.throw(/ENOSPC/);
      appendRecord(path, Buffer.from("after it"));
      expect(last()).to.equal("after it");
    } finally {
      umount(dir);
    }
  });

  it("is no answer for a file that is not there", () => {
    expect(() => readLastRecord(path)).to.throw(/ENOENT/);
  });
});
