import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "chai";
import { cgroupProcesses, cgroupStats, detectCgroups, removeEmptyCgroup, wasOomKilled } from "./cgroup.ts";

// Texts as Linux 6.1 gives them. What the kernel does is in limits.test.ts.
describe("files of cgroup v2", () => {
  let root: string;
  const group = "/tswarm/one";
  const write = (files: Record<string, string>) => {
    for (const [name, text] of Object.entries(files)) writeFileSync(join(root, group, name), text);
  };

  beforeEach(() => {
    root = mkdtempSync("/tmp/tswarm-cgroup-");
    mkdirSync(join(root, group), { recursive: true });
    writeFileSync(join(root, "cgroup.controllers"), "cpuset cpu io memory hugetlb pids rdma misc\n");
  });
  afterEach(() => rmSync(root, { recursive: true, force: true }));

  it("are told from a mixed layout by the root's own file", () => {
    expect(detectCgroups(root).version).to.equal(2);
    rmSync(join(root, "cgroup.controllers"));
    mkdirSync(join(root, "unified"));
    writeFileSync(join(root, "unified/cgroup.controllers"), "\n");
    expect(detectCgroups(root).version).to.equal(1);
  });

  it("are read with their limits, and without", () => {
    const layout = detectCgroups(root);
    write({
      "cpu.stat": "usage_usec 1234567\nuser_usec 1000000\nsystem_usec 234567\nnr_periods 9\n",
      "memory.current": "21671936\n",
      "memory.max": "67108864\n",
      "pids.current": "3\n",
      "cgroup.procs": "41\n42\n",
    });
    const stats = { cpuUsageUs: 1_234_567, memoryBytes: 21_671_936, pids: 3 };
    expect(cgroupStats(layout, group)).to.deep.equal({ ...stats, memoryLimitBytes: 64 << 20 });
    expect(cgroupProcesses(layout, group)).to.deep.equal([41, 42]);
    write({ "memory.max": "max\n" });
    expect(cgroupStats(layout, group)).to.deep.equal({ ...stats, memoryLimitBytes: 0 });
  });

  it("tell a kill from a limit that was only reached", () => {
    const layout = detectCgroups(root);
    const events = (oom: number, kill: number, groupKill: number) =>
      write({
        "memory.events": `low 0\nhigh 0\nmax 120\noom ${oom}\noom_kill ${kill}\noom_group_kill ${groupKill}\n`,
      });
    events(1, 0, 1);
    expect(wasOomKilled(layout, group)).to.equal(false);
    events(1, 2, 0);
    expect(wasOomKilled(layout, group)).to.equal(true);
    rmSync(join(root, group), { recursive: true });
    expect(wasOomKilled(layout, group)).to.equal(false);
    expect(cgroupProcesses(layout, group)).to.deep.equal([]);
  });

  it("go with their group, but not while it has others below", () => {
    const layout = detectCgroups(root);
    removeEmptyCgroup(layout, "/tswarm");
    expect(cgroupProcesses(layout, group)).to.deep.equal([]);
    write({ "cgroup.procs": "1\n" });
    expect(cgroupProcesses(layout, group)).to.deep.equal([1]);
    rmSync(join(root, group, "cgroup.procs"));
    removeEmptyCgroup(layout, group);
    expect(() => write({ "cgroup.procs": "" })).to.throw("ENOENT");
  });
});
