import { execFileSync, fork, spawnSync } from "node:child_process";
import { once } from "node:events";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect } from "chai";
import { readLogs } from "#node-agent/logs/read-logs.ts";
import { detectCgroups } from "./cgroup.ts";
import { type CrunOptions, CrunRuntime, openRuntime } from "./crun-runtime.ts";
import { hostFacts } from "./host-facts.ts";
import type { ContainerSpec, ExecHandle } from "./runtime.ts";
import { describeWithCrun, makeRootfs, needsLauncher } from "./testing/with-crun.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const self = fileURLToPath(import.meta.url);
const sh = (script: string) => ["sh", "-c", script];

describeWithCrun("CrunRuntime", self, suite);

if (needsLauncher)
  describe("tswarm-private-mounts", () => {
    it("finds the mounts of the last start again when it keeps its namespace", () => {
      const dir = mkdtempSync("/tmp/tswarm-launcher-");
      const keep = join(dir, "ns/mounts");
      const run = (script: string) =>
        execFileSync("bin/tswarm-private-mounts", sh(script), {
          ...{ cwd: root, encoding: "utf8", env: { ...process.env, TSWARM_MOUNT_NAMESPACE: keep } },
        });
      try {
        run(`mkdir ${dir}/m && mount -t tmpfs x ${dir}/m && touch ${dir}/m/still-here`);
        expect(run(`ls ${dir}/m; pwd; ls -A /sys/fs/cgroup/unified`)).to.equal(
          `still-here\n${root.replace(/\/$/, "")}\n`,
        );
        expect(readdirSync(join(dir, "m"))).to.deep.equal([]);
      } finally {
        for (const path of [keep, join(dir, "ns")]) spawnSync("umount", [path]);
        rmSync(dir, { recursive: true, force: true });
      }
    });
  });

function suite() {
  let dir: string;
  let runtime: CrunRuntime;
  let options: CrunOptions;
  let count = 0;
  const cgroups = detectCgroups();

  const spec = (args: string[], changes: Partial<ContainerSpec> = {}): ContainerSpec => {
    const id = `task${count++}`;
    return {
      ...{ id, taskName: `web.1.${id}`, rootfs: join(dir, "rootfs"), netns: "host", hostname: "box", args },
      ...{ env: [], cwd: "/", user: "", tty: false, readOnly: false, init: false, mounts: [], files: [] },
      ...{ limits: { memoryBytes: 0, nanoCpus: 0, pids: 0 }, capAdd: [], capDrop: [], sysctls: {}, labels: { a: "b" } },
      ...{ logPath: join(dir, "logs", id) },
      ...changes,
    };
  };
  const launch = async (args: string[], changes: Partial<ContainerSpec> = {}) => {
    const it = spec(args, changes);
    const { pid } = await runtime.create(it);
    await runtime.start(it.id);
    return { id: it.id, pid, logPath: it.logPath };
  };
  const logs = async (path: string, tail = -1) => {
    const lines: string[] = [];
    const { signal } = new AbortController();
    for await (const { stderr, data } of readLogs(path, {
      follow: false,
      tail,
      since: 0,
      stdout: true,
      stderr: true,
      signal,
    }))
      lines.push(`${stderr ? "err" : "out"} ${Buffer.from(data)}`);
    return lines;
  };
  /** Exit code and stdout of a short container. */
  const outputOf = async (args: string[], changes: Partial<ContainerSpec> = {}) => {
    const { id, logPath } = await launch(args, changes);
    const { code } = await runtime.wait(id);
    const lines = (await logs(logPath)).filter((l) => l.startsWith("out ")).map((l) => l.slice(4));
    return { code, lines, text: lines.join("\n"), all: (await logs(logPath)).join("\n") };
  };
  /** Follows the log until a line contains the text. */
  const lineWith = async (path: string, text: string) => {
    const abort = new AbortController();
    const all = { follow: true, tail: -1, since: 0, stdout: true, stderr: true, signal: abort.signal };
    for await (const { data } of readLogs(path, all)) if (Buffer.from(data).includes(text)) break;
    abort.abort();
  };
  const collect = async (handle: ExecHandle) => {
    let out = "";
    let err = "";
    handle.stdout.on("data", (chunk) => (out += chunk));
    handle.stderr.on("data", (chunk) => (err += chunk));
    const ends = Promise.all([once(handle.stdout, "end"), once(handle.stderr, "end")]);
    const code = await handle.exit;
    await ends;
    return { code, out, err };
  };

  before(() => {
    dir = mkdtempSync("/tmp/tswarm-runtime-");
    mkdirSync(join(dir, "logs"));
    makeRootfs(join(dir, "rootfs"));
    options = { stateDir: join(dir, "state"), cgroupParent: `tswarm-test-${process.pid}` };
    runtime = new CrunRuntime(options);
  });
  after(async () => {
    await runtime.teardown();
    rmSync(dir, { recursive: true, force: true });
  });
  afterEach(async () => {
    for (const { id } of await runtime.list()) await runtime.remove(id);
  });

  it("gives the exit code, and both streams in the log", async () => {
    const { code, all } = await outputOf(sh("echo one; echo two >&2; exit 5"));
    expect(code).to.equal(5);
    expect(all).to.include("out one").and.to.include("err two");
  });

  it("does not run the process before start", async () => {
    const created = spec(sh("echo ran; sleep 100"));
    await runtime.create(created);
    expect((await runtime.list()).map((c) => c.state)).to.deep.equal(["created"]);
    await runtime.start(created.id);
    await lineWith(created.logPath, "ran");
    expect(await runtime.list()).to.containSubset([{ id: created.id, state: "running", labels: { a: "b" } }]);
  });

  it("refuses a taken id, an unknown one and a program that is not there", async () => {
    const first = spec(["sleep", "100"]);
    await runtime.create(first);
    expect(await runtime.create(first).catch((e) => e.code)).to.equal("name_conflict");
    expect(await runtime.start("nobody").catch((e) => e.code)).to.equal("not_found");
    const missing = spec(["no-such-program"]);
    expect(await runtime.create(missing).catch((e) => e.message)).to.include("no-such-program");
    expect((await runtime.list()).map((c) => c.id)).to.deep.equal([first.id]);
  });

  it("delivers signals and keeps the grace period's promise", async () => {
    const polite = await launch(sh("trap 'echo bye; exit 3' TERM; echo up; while :; do sleep 0.05; done"));
    const deaf = await launch(sh("trap '' TERM; echo up; while :; do sleep 1; done"));
    await lineWith(polite.logPath, "up");
    await lineWith(deaf.logPath, "up");
    expect((await runtime.stop(polite.id, "SIGTERM", 10_000)).code).to.equal(3);
    expect((await runtime.stop(deaf.id, "SIGTERM", 100)).code).to.equal(137);
    await runtime.signal(deaf.id, "SIGTERM");
    const hup = await launch(sh("trap 'exit 9' HUP; echo up; while :; do sleep 0.05; done"));
    await lineWith(hup.logPath, "up");
    await runtime.signal(hup.id, "HUP");
    expect((await runtime.wait(hup.id)).code).to.equal(9);
  });

  it("sets the limits of memory, processor and processes", async () => {
    const { id } = await launch(["sleep", "100"], { limits: { memoryBytes: 64 << 20, nanoCpus: 5e8, pids: 7 } });
    const file = (controller: string, v1: string, v2: string) => {
      const group = join(cgroups.version === 1 ? controller : "", options.cgroupParent, id);
      return readFileSync(join(cgroups.root, group, cgroups.version === 1 ? v1 : v2), "latin1").trim();
    };
    expect(file("memory", "memory.limit_in_bytes", "memory.max")).to.equal(String(64 << 20));
    expect(file("pids", "pids.max", "pids.max")).to.equal("7");
    if (cgroups.version === 2) expect(file("", "", "cpu.max")).to.equal("50000 100000");
    else
      expect([file("cpu", "cpu.cfs_quota_us", ""), file("cpu", "cpu.cfs_period_us", "")]).to.deep.equal([
        "50000",
        "100000",
      ]);
    expect(await runtime.stats(id)).to.deep.include({ memoryLimitBytes: 64 << 20, pids: 1 });
    expect(await runtime.pids(id)).to.have.length(1);
  });

  it("reports death for want of memory", async () => {
    const { id } = await launch(["dd", "if=/dev/zero", "of=/dev/null", "bs=200M", "count=1"], {
      limits: { memoryBytes: 16 << 20, nanoCpus: 0, pids: 0 },
    });
    expect(await runtime.wait(id)).to.deep.include({ code: 137, oomKilled: true });
    const fine = await launch(["true"]);
    expect(await runtime.wait(fine.id)).to.deep.include({ code: 0, oomKilled: false });
  });

  it("gives Docker's capabilities by default, none to users, and those asked for", async () => {
    const capabilities = async (changes: Partial<ContainerSpec>) =>
      (await outputOf(["grep", "Cap", "/proc/self/status"], changes)).text.replaceAll(/:\t0*/g, " ");
    expect(await capabilities({}))
      .to.include("CapEff a80425fb")
      .and.to.include("CapBnd a80425fb");
    expect(await capabilities({ user: "web" }))
      .to.match(/CapEff $/m)
      .and.to.include("CapBnd a80425fb");
    expect(await capabilities({ capDrop: ["ALL"], capAdd: ["NET_ADMIN"] })).to.include("CapEff 1000");
  });

  it("filters system calls", async () => {
    expect((await outputOf(["grep", "Seccomp:", "/proc/self/status"])).text).to.match(/2$/);
    // The kernel would let anybody make a user namespace. Twice: the second container takes the compiled filter of the first.
    for (const [capAdd, code] of [
      [["SYS_ADMIN"], 0],
      [[], 1],
      [[], 1],
    ] as const)
      expect((await outputOf(["busybox", "unshare", "-U", "true"], { capAdd })).code).to.equal(code);
  });

  it("hides and protects kernel files", async () => {
    const hidden = await outputOf(sh("cat /proc/kcore | head -c 10; ls /proc/scsi /sys/firmware"));
    expect(hidden.text.replaceAll(/\/\S+:|\s/g, "")).to.equal("");
    expect((await outputOf(sh("echo 1 > /proc/sys/kernel/panic"))).all).to.include("Read-only");
    expect((await outputOf(sh(`mkdir /sys/fs/cgroup/${cgroups.version === 1 ? "memory/" : ""}x`))).code).to.not.equal(
      0,
    );
  });

  it("makes the root read-only, with writable and read-only mounts in it", async () => {
    mkdirSync(join(dir, "data"), { recursive: true });
    writeFileSync(join(dir, "data/file"), "from the host\n");
    const bind = { type: "bind", source: join(dir, "data"), tmpfsSizeBytes: 0 };
    const mounts = [
      { ...bind, target: "/data/ro", readOnly: true },
      { ...bind, target: "/data", readOnly: false },
      { type: "tmpfs", source: "", target: "/scratch", readOnly: false, tmpfsSizeBytes: 1 << 20 },
    ];
    const script = `touch /no || echo root; touch /data/ro/no || echo ro; touch /data/yes /scratch/yes && cat /data/file
      dd if=/dev/zero of=/scratch/big bs=1M count=2 2>/dev/null || echo full`;
    expect((await outputOf(sh(script), { readOnly: true, mounts })).lines).to.deep.equal([
      "root",
      "ro",
      "from the host",
      "full",
    ]);
    expect(readdirSync(join(dir, "data"))).to.include("yes");
  });

  it("looks users up in the image, and is not led out of it", async () => {
    expect((await outputOf(sh("id; echo $HOME"), { user: "web" })).text).to.equal(
      "uid=33(web) gid=34(web) groups=34(web),50(logs)\n/srv",
    );
    expect((await outputOf(["id"], { user: "1000:logs" })).text).to.include("uid=1000 gid=50(logs)");
    expect(await runtime.create(spec(["id"], { user: "nobody-here" })).catch((e) => e.message)).to.include(
      "nobody-here",
    );
    const rootfs = makeRootfs(join(dir, "evil"));
    writeFileSync(join(dir, "outside"), "evil:x:7:7::/:\n");
    rmSync(join(rootfs, "etc/passwd"));
    symlinkSync("../../outside", join(rootfs, "etc/passwd"));
    expect(await runtime.create(spec(["id"], { rootfs, user: "evil" })).catch((e) => e.code)).to.equal("invalid");
  });

  it("sets hostname, files, environment and working directory", async () => {
    writeFileSync(join(dir, "hosts"), "10.0.0.9 db\n");
    const changes = {
      ...{ hostname: "web-1", env: ["A=1 2", "PATH=/bin"], cwd: "/made/here" },
      files: [{ path: "/etc/hosts" as const, hostPath: join(dir, "hosts") }],
    };
    const { lines } = await outputOf(sh("hostname; cat /etc/hosts; echo $A $PATH $HOME; pwd"), changes);
    expect(lines).to.deep.equal(["web-1", "10.0.0.9 db", "1 2 /bin /root", "/made/here"]);
    expect(hostname()).to.not.equal("web-1");
  });

  it("joins a network namespace by path, where low ports are free for all", async () => {
    const name = `tswarm-rt-${process.pid}`;
    execFileSync("ip", ["netns", "add", name]);
    try {
      const script =
        "ls /sys/class/net; cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/net/ipv4/ip_default_ttl";
      const { lines } = await outputOf(sh(script), {
        netns: { path: `/run/netns/${name}` },
        sysctls: { "net.ipv4.ip_default_ttl": "77" },
      });
      expect(lines).to.include("lo").and.not.include("eth0");
      expect(lines.slice(-2)).to.deep.equal(["0", "77"]);
    } finally {
      execFileSync("ip", ["netns", "delete", name]);
    }
  });

  it("gives the process a terminal when asked", async () => {
    const { lines } = await outputOf(sh("test -t 1 && echo terminal; echo $TERM; echo err >&2"), { tty: true });
    expect(lines.map((l) => l.trimEnd())).to.deep.equal(["terminal", "xterm", "err"]);
  });

  it("follows the log across a rotation without losing a line", async () => {
    const small = new CrunRuntime({ ...options, logRotation: { maxBytes: 50_000, files: 3 } });
    const started = spec(sh("for i in 1 2 3 4 5 6; do seq 1 1000; sleep 0.4; done; echo the-end"));
    await small.create(started);
    await small.start(started.id);
    const abort = new AbortController();
    const lines: string[] = [];
    const all = { follow: true, tail: -1, since: 0, stdout: true, stderr: true, signal: abort.signal };
    for await (const { data } of readLogs(started.logPath, all)) {
      lines.push(Buffer.from(data).toString());
      if (lines.at(-1) === "the-end") break;
    }
    const sequence = Array.from({ length: 6 }, () => Array.from({ length: 1000 }, (_, i) => String(i + 1))).flat();
    expect(lines).to.deep.equal([...sequence, "the-end"]);
    expect(readdirSync(join(dir, "logs"))).to.include(`${started.id}.1`);
    expect(await logs(started.logPath, 2)).to.deep.equal(["out 1000", "out the-end"]);
    small.close();
  });

  describe("exec", () => {
    it("passes streams, environment, user, folder and exit code", async () => {
      const { id } = await launch(["sleep", "100"], { env: ["A=1"] });
      const handle = await runtime.exec(id, {
        args: sh("id -u; pwd; echo $A $B $HOME; cat; echo oops >&2; exit 9"),
        ...{ env: ["B=2"], user: "web", cwd: "/tmp" },
      });
      handle.stdin.write("typed\n");
      handle.stdin.end();
      expect(await collect(handle)).to.deep.equal({ code: 9, out: "33\n/tmp\n1 2 /srv\ntyped\n", err: "oops\n" });
    });

    it("has the container's limits of capabilities and system calls", async () => {
      const { id } = await launch(["sleep", "100"]);
      const handle = await runtime.exec(id, { args: ["grep", "-E", "CapEff|Seccomp:", "/proc/self/status"] });
      expect((await collect(handle)).out).to.match(/CapEff:\t00000000a80425fb\nSeccomp:\t2/);
    });

    it("carries much output whole", async () => {
      const { id } = await launch(["sleep", "100"]);
      const { out, code } = await collect(await runtime.exec(id, { args: ["head", "-c", "3000000", "/dev/zero"] }));
      expect([out.length, code]).to.deep.equal([3_000_000, 0]);
    });

    it("gives a terminal of the wanted size, and resizes it", async () => {
      const { id } = await launch(["sleep", "100"]);
      const args = sh("stty size; read x; stty size; echo got $x; exit 4");
      const handle = await runtime.exec(id, { args, tty: true, size: { columns: 100, rows: 30 } });
      const collected = collect(handle);
      await once(handle.stdout, "data");
      handle.resize({ columns: 120, rows: 40 });
      handle.stdin.write("this\n");
      const { code, out } = await collected;
      expect(code).to.equal(4);
      expect(out.split("\r\n")).to.deep.equal(["30 100", "this", "40 120", "got this", ""]);
    });

    it("has shells' codes for what can't run, and refuses a container that does not", async () => {
      const { id, pid } = await launch(["sleep", "100"]);
      const missing = await collect(await runtime.exec(id, { args: ["no-such"] }));
      expect([missing.code, missing.err]).to.satisfy(
        ([code, err]: [number, string]) => code === 127 && err.includes("no-such"),
      );
      const terminal = await collect(await runtime.exec(id, { args: ["no-such"], tty: true }));
      expect(terminal.code).to.equal(127);
      expect((await collect(await runtime.exec(id, { args: ["/etc/passwd"] }))).code).to.equal(126);
      expect(readdirSync(join(options.stateDir, id)).filter((name) => name.startsWith("exec"))).to.deep.equal([]);
      process.kill(pid, "SIGKILL");
      await runtime.wait(id);
      expect(await runtime.exec(id, { args: ["true"] }).catch((e) => e.code)).to.equal("conflict");
    });

    it("can be killed, and ends with its container", async () => {
      const { id } = await launch(["sleep", "100"]);
      const first = await runtime.exec(id, { args: sh("echo up; sleep 100") });
      await once(first.stdout, "data");
      first.kill();
      expect(await first.exit).to.equal(137);
      const second = await runtime.exec(id, { args: sh("echo up; sleep 100"), tty: true });
      await once(second.stdout, "data");
      await runtime.remove(id);
      expect(await second.exit).to.equal(137);
    });
  });

  describe("after the agent was killed", () => {
    /** Creates containers in another process, and kills it. */
    const withDeadAgent = async (specs: ContainerSpec[], unfinished?: string) => {
      const program = join(dir, "agent.ts");
      writeFileSync(
        program,
        `import { CrunRuntime } from ${JSON.stringify(join(root, "node-agent/runtime/crun-runtime.ts"))};
         const runtime = new CrunRuntime(${JSON.stringify(options)});
         for (const spec of ${JSON.stringify(specs)}) { await runtime.create(spec); await runtime.start(spec.id); }
         process.send("ready");`,
      );
      const agent = fork(program, { stdio: "inherit" });
      await once(agent, "message");
      agent.kill("SIGKILL");
      await once(agent, "exit");
      if (unfinished) rmSync(join(options.stateDir, unfinished, "record.json"));
    };

    it("adopts what runs and what has ended", async () => {
      const go = join(dir, "data/go");
      rmSync(go, { force: true });
      const bind = { type: "bind", source: join(dir, "data"), target: "/data", readOnly: false, tmpfsSizeBytes: 0 };
      const runs = spec(sh("echo up; while [ ! -e /data/go ]; do sleep 0.05; done; echo still logged; exit 6"), {
        mounts: [bind],
      });
      const ended = spec(sh("exit 4"));
      await withDeadAgent([runs, ended]);
      const next = await openRuntime(options);
      expect((await next.wait(ended.id)).code).to.equal(4);
      const found = new Map((await next.list()).map((c) => [c.id, c]));
      expect(found.get(runs.id)).to.containSubset({ state: "running", logPath: runs.logPath, labels: { a: "b" } });
      expect(found.get(ended.id)).to.containSubset({ state: "exited", exit: { code: 4, oomKilled: false } });
      const exec = await collect(await next.exec(runs.id, { args: ["echo", "hi"] }));
      expect(exec.out).to.equal("hi\n");
      writeFileSync(go, "");
      expect((await next.wait(runs.id)).code).to.equal(6);
      expect(await logs(runs.logPath)).to.deep.equal(["out up", "out still logged"]);
      next.close();
    });

    it("undoes a creation that the agent did not finish", async () => {
      const half = spec(["sleep", "100"]);
      await withDeadAgent([half], half.id);
      const pid = Number(readFileSync(join(options.stateDir, half.id, "pid"), "latin1"));
      const next = await openRuntime(options);
      expect(await next.list()).to.deep.equal([]);
      expect(existsSync(`/proc/${pid}`)).to.equal(false);
      next.close();
    });

    it("does not take another process for a container", async () => {
      const lost = spec(["sleep", "100"]);
      await runtime.create(lost);
      await runtime.remove(lost.id);
      const bundle = join(options.stateDir, lost.id);
      mkdirSync(bundle);
      const me = { pid: process.pid, startTicks: 1 };
      const bootId = readFileSync("/proc/sys/kernel/random/boot_id", "latin1").trim();
      const record = { bootId, container: me, conmon: me, logPath: lost.logPath, labels: {} };
      writeFileSync(join(bundle, "record.json"), JSON.stringify(record));
      const next = await openRuntime(options);
      expect(await next.list()).to.containSubset([{ id: lost.id, state: "exited", exit: { code: 255 } }]);
      await next.remove(lost.id);
      next.close();
    });
  });

  it("goes on without conmon, whose death loses only the exit code", async () => {
    const { id } = await launch(["sleep", "100"]);
    const { conmon } = JSON.parse(readFileSync(join(options.stateDir, id, "record.json"), "utf8"));
    process.kill(conmon.pid, "SIGKILL");
    expect((await collect(await runtime.exec(id, { args: ["echo", "alive"] }))).out).to.equal("alive\n");
    expect(await runtime.list()).to.containSubset([{ id, state: "running" }]);
    expect(await runtime.stop(id, "SIGKILL", 1000)).to.deep.include({ code: 255, oomKilled: false });
  });

  it("puts an init in front of the process where the node has one, and says so where it has not", async () => {
    const { initPath } = hostFacts("");
    const started = spec(["cat", "/proc/1/comm"], { init: true });
    const outcome = await runtime.create(started).catch((e) => e.code);
    if (!initPath) return expect(outcome).to.equal("unsupported");
    await runtime.start(started.id);
    expect((await runtime.wait(started.id)).code).to.equal(0);
    return expect(await logs(started.logPath)).to.deep.equal(["out docker-init"]);
  });

  it("leaves no process, mount and cgroup behind", async () => {
    const { id, pid } = await launch(sh("sleep 1000 & sleep 1000"));
    await runtime.exec(id, { args: ["sleep", "1000"] });
    expect(await runtime.pids(id)).to.not.be.empty;
    await runtime.remove(id);
    await runtime.remove(id);
    const withId = readdirSync("/proc").filter((name) => {
      if (!/^\d+$/.test(name)) return false;
      try {
        return readFileSync(`/proc/${name}/cmdline`, "latin1").includes(`${options.stateDir}/${id}`);
      } catch {
        return false;
      }
    });
    expect(withId).to.deep.equal([]);
    expect(existsSync(`/proc/${pid}`)).to.equal(false);
    expect(readFileSync("/proc/self/mountinfo", "utf8")).to.not.include(dir);
    const search = ["/sys/fs/cgroup", "-path", `*${options.cgroupParent}/${id}*`];
    expect(execFileSync("find", search, { encoding: "utf8" })).to.equal("");
    await runtime.teardown();
    expect(execFileSync("find", ["/sys/fs/cgroup", "-name", options.cgroupParent], { encoding: "utf8" })).to.equal("");
    expect(readdirSync(options.stateDir)).to.deep.equal([]);
    runtime = new CrunRuntime(options);
  });
}
