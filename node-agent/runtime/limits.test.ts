// What the kernel does at a container's limits, on both versions of cgroups: here on the host's, by `make vm-test` on v2 alone.
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect } from "chai";
import { detectCgroups } from "./cgroup.ts";
import { CrunRuntime } from "./crun-runtime.ts";
import type { ContainerSpec, Limits } from "./runtime.ts";
import { describeWithCrun, makeRootfs } from "./testing/with-crun.ts";

describeWithCrun("limits of containers", fileURLToPath(import.meta.url), () => {
  const layout = detectCgroups();
  const v2 = layout.version === 2;
  const cgroupParent = `tswarm-limits-${process.pid}`;
  let dir: string;
  let runtime: CrunRuntime;
  let count = 0;

  const launch = async (script: string, limits: Partial<Limits>): Promise<string> => {
    const id = `task${count++}`;
    const spec: ContainerSpec = {
      ...{ id, taskName: id, rootfs: join(dir, "rootfs"), netns: "host", hostname: "box", args: ["sh", "-c", script] },
      ...{ env: [], cwd: "/", user: "", tty: false, readOnly: false, init: false, mounts: [], files: [] },
      ...{ limits: { memoryBytes: 0, nanoCpus: 0, pids: 0, ...limits }, capAdd: [], capDrop: [], sysctls: {} },
      ...{ labels: {}, logPath: join(dir, `${id}.log`) },
    };
    await runtime.create(spec);
    await runtime.start(id);
    return id;
  };
  /** A file of the container's group, named as on v1 and as on v2. */
  const group = (id: string, controller: string, v1Name: string, v2Name: string): string =>
    readFileSync(join(layout.root, v2 ? "" : controller, cgroupParent, id, v2 ? v2Name : v1Name), "latin1").trim();
  const execCode = async (id: string, script: string): Promise<number> => {
    const handle = await runtime.exec(id, { args: ["sh", "-c", script] });
    handle.stdout.resume();
    handle.stderr.resume();
    return handle.exit;
  };
  const foundGroups = (): string =>
    execFileSync("find", ["/sys/fs/cgroup", "-path", `*/${cgroupParent}*`, "-type", "d"], { encoding: "latin1" });

  before(() => {
    dir = mkdtempSync("/tmp/tswarm-limits-");
    makeRootfs(join(dir, "rootfs"));
    mkdirSync(join(dir, "state"));
    runtime = new CrunRuntime({ stateDir: join(dir, "state"), cgroupParent });
  });
  afterEach(async () => {
    for (const { id } of await runtime.list()) await runtime.remove(id);
  });
  after(async () => {
    await runtime.teardown();
    rmSync(dir, { recursive: true, force: true });
  });

  const EAT = "dd if=/dev/zero of=/dev/null bs=200M count=1 2>/dev/null";

  it("kills for want of memory only what is over the limit, and says so when the container ends well too", async () => {
    const spoiled = await launch(`${EAT}; echo $?; exit 4`, { memoryBytes: 16 << 20 });
    const neighbour = await launch(`${EAT}; exit 0`, { memoryBytes: 400 << 20 });
    expect(await runtime.wait(spoiled)).to.deep.include({ code: 4, oomKilled: true });
    expect(readFileSync(join(dir, `${spoiled}.log`), "latin1")).to.match(/ 137\n/);
    expect(await runtime.wait(neighbour)).to.deep.include({ code: 0, oomKilled: false });
  });

  it("holds a program that is started by exec to the container's memory", async () => {
    const id = await launch("sleep 1000", { memoryBytes: 16 << 20 });
    expect(await execCode(id, EAT)).to.equal(137);
    expect(await runtime.list()).to.containSubset([{ id, state: "running" }]);
    expect(await runtime.stop(id, "SIGKILL", 0)).to.deep.include({ code: 137, oomKilled: true });
  });

  it("counts files in a tmpfs as memory, and gives the limit", async () => {
    const id = await launch("dd if=/dev/zero of=/dev/shm/file bs=1M count=20 2>/dev/null; sleep 1000", {
      memoryBytes: 64 << 20,
    });
    expect(await execCode(id, "while [ $(wc -c </dev/shm/file) != 20971520 ]; do sleep 0.05; done")).to.equal(0);
    const { memoryBytes, memoryLimitBytes } = await runtime.stats(id);
    expect(memoryLimitBytes).to.equal(64 << 20);
    expect(memoryBytes).to.be.within(20 << 20, 64 << 20);
  });

  it("lets no more processes begin than allowed, exec included", async () => {
    const id = await launch("sleep 1000 & sleep 1000 & (sleep 1000 & sleep 1000 & sleep 1000); exec sleep 1000", {
      pids: 4,
    });
    const refused = () => Number(/\d+$/.exec(group(id, "pids", "pids.events", "pids.events"))?.[0]);
    while (refused() === 0) await new Promise((next) => setTimeout(next, 20));
    const { pids } = await runtime.stats(id);
    expect(pids).to.be.within(1, 4);
    expect(await runtime.pids(id)).to.have.length.within(1, 4);
    expect(group(id, "pids", "pids.max", "pids.max")).to.equal("4");
  });

  it("throttles at the share of processor time, and counts the time", async () => {
    const id = await launch("while :; do :; done", { nanoCpus: 2e8 });
    if (v2) expect(group(id, "", "", "cpu.max")).to.equal("20000 100000");
    else expect(group(id, "cpu", "cpu.cfs_quota_us", "")).to.equal("20000");
    const throttled = () => Number(/^nr_throttled (\d+)$/m.exec(group(id, "cpu", "cpu.stat", "cpu.stat"))?.[1]);
    while (throttled() === 0) await new Promise((next) => setTimeout(next, 20));
    const { cpuUsageUs, memoryLimitBytes } = await runtime.stats(id);
    expect(cpuUsageUs).to.be.greaterThan(10_000);
    expect(memoryLimitBytes).to.equal(0);
  });

  it("opens devices of the list only, though every node may be made", async () => {
    const id = await launch("sleep 1000", {});
    expect(await execCode(id, "mknod /dev/void c 1 3 && echo x >/dev/void")).to.equal(0);
    const handle = await runtime.exec(id, { args: ["sh", "-c", "mknod /dev/tunnel c 10 200 && cat /dev/tunnel"] });
    handle.stdout.resume();
    let text = "";
    handle.stderr.on("data", (chunk) => {
      text += chunk;
    });
    expect(await handle.exit).to.equal(1);
    expect(text).to.include("Operation not permitted");
  });

  it("removes the groups of containers that reached their limits, and their parent", async () => {
    const ids = [
      await launch(`${EAT}; sleep 1000`, { memoryBytes: 16 << 20 }),
      await launch("sleep 1000 & sleep 1000 & sleep 1000 & wait", { pids: 2 }),
    ];
    expect(foundGroups()).to.include(ids[0]).and.to.include(ids[1]);
    for (const id of ids) await runtime.remove(id);
    expect(foundGroups()).to.not.include("task");
    await runtime.teardown();
    expect(foundGroups()).to.equal("");
    expect(existsSync(join(dir, "state"))).to.equal(true);
    runtime = new CrunRuntime({ stateDir: join(dir, "state"), cgroupParent });
  });
});
