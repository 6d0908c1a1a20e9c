// For tests with real containers: a root filesystem of busybox, and a place where crun works.
import { spawnSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect } from "chai";

const root = fileURLToPath(new URL("../../..", import.meta.url));
/** On a host with both cgroup versions crun needs a mount namespace of its own, which a running Node can't give itself. */
export const needsLauncher = existsSync("/sys/fs/cgroup/unified/cgroup.procs");

/** The suite, where crun works here; otherwise one test that runs the file `self` (an absolute path) where it does. */
export const describeWithCrun = (title: string, self: string, suite: () => void): void => {
  if (!needsLauncher) {
    describe(title, suite);
    return;
  }
  describe(`${title} (in a mount namespace without the second cgroup hierarchy)`, function () {
    this.timeout(120_000);
    it("passes its tests", () => {
      const mocha = ["node", "node_modules/mocha/bin/mocha.js", "--reporter", "spec", self];
      const { status, stdout, stderr } = spawnSync("bin/tswarm-private-mounts", mocha, { cwd: root, encoding: "utf8" });
      expect(status, `${stdout}${stderr}`).to.equal(0);
      expect(stdout).to.match(/[1-9]\d* passing/);
    });
  });
};

const COMMANDS =
  "sh sleep echo cat id env ls hostname stty touch head tail yes dd grep mkdir mknod kill seq tr true wc".split(" ");

export const makeRootfs = (dir: string): string => {
  for (const name of ["bin", "etc", "tmp", "proc", "sys", "dev"]) mkdirSync(join(dir, name), { recursive: true });
  copyFileSync("/bin/busybox", join(dir, "bin/busybox"));
  for (const name of COMMANDS) symlinkSync("busybox", join(dir, "bin", name));
  writeFileSync(join(dir, "etc/passwd"), "root:x:0:0::/root:/bin/sh\nweb:x:33:34::/srv:/bin/sh\n");
  writeFileSync(join(dir, "etc/group"), "root:x:0:\nweb:x:34:\nlogs:x:50:web,other\n");
  return dir;
};
