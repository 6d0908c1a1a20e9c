import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { TswarmError } from "#base/errors.ts";
import { MNT_DETACH, MS_BIND, MS_RDONLY, MS_REMOUNT, mount, umount } from "./mount.ts";

const codeOf = (act: () => void): string => {
  try {
    act();
  } catch (thrown) {
    return thrown instanceof TswarmError ? `${thrown.code}: ${thrown.message}` : String(thrown);
  }
  return "nothing thrown";
};

describe("mount(2)", () => {
  let dir: string;
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), "tswarm-mount-"));
    for (const name of ["a", "b"]) mkdirSync(join(dir, name));
  });
  afterEach(() => rmSync(dir, { recursive: true, force: true }));

  it("binds a folder, makes it read-only and lets go of it", () => {
    writeFileSync(join(dir, "a/file"), "x");
    mount(join(dir, "a"), join(dir, "b"), "", MS_BIND, "");
    try {
      expect(existsSync(join(dir, "b/file"))).to.equal(true);
      mount("", join(dir, "b"), "", MS_BIND | MS_REMOUNT | MS_RDONLY, "");
      expect(() => writeFileSync(join(dir, "b/other"), "x")).to.throw(/EROFS/);
    } finally {
      umount(join(dir, "b"), MNT_DETACH);
    }
    expect(existsSync(join(dir, "b/file"))).to.equal(false);
  });

  it("names the call, the path and the errno", () => {
    expect(codeOf(() => umount(join(dir, "a")))).to.match(/^invalid: unmount .*\/a: .*\(EINVAL\)/);
    expect(codeOf(() => mount("tmpfs", join(dir, "none"), "tmpfs", 0, ""))).to.match(
      /^not_found: mount tmpfs at .*\/none/,
    );
    expect(codeOf(() => mount("x", join(dir, "a"), "nosuchfs", 0, ""))).to.match(/^unsupported: .*\(ENODEV\)/);
  });

  it("refuses options that the kernel would cut off", () => {
    expect(codeOf(() => mount("overlay", join(dir, "a"), "overlay", 0, "x".repeat(4096)))).to.match(/4096 bytes/);
  });
});
