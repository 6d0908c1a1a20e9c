// Input, output and logs whose other end is slow wait where they come from: no process on the way keeps them.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { eventually, exec, list, ROOT, startCluster } from "#test-cluster/e2e/fixture.ts";
import { type TestCluster, tsctl } from "#test-cluster/netns/cluster.ts";
import { sleep } from "#test-cluster/netns/system.ts";

const NAME = "tswslow";
const INPUT_BYTES = 300_000_000;
/** What garbage may wait for its collection. All of the input took 314 MiB where it was kept, half of it 190. */
const FLOWING = 150 << 20;
/** Nothing moves. */
const STANDING = 40 << 20;

describe("streams with a slow end", function () {
  this.timeout(90_000);
  const dir = mkdtempSync(join(tmpdir(), "streams-"));
  const file = join(dir, "input");
  let cluster: TestCluster;
  const at = (...args: string[]) => tsctl(cluster.node("node1"), ...args);

  before(async () => {
    writeFileSync(file, "");
    truncateSync(file, INPUT_BYTES);
    cluster = await startCluster(NAME, 74, 2, 1);
    // On the node that is no manager.
    at("run", "-d", "--name", "box", "--node", "node2", "localhost/tools:1", "sleep", "infinity");
    exec(cluster, "box", "true");
  });
  after(async () => {
    rmSync(dir, { recursive: true });
    await cluster?.down();
  });

  /** Of tsctl, the agent that it asks, the manager, and the agent that runs the container; bytes. */
  const memory = (child: ChildProcess): number[] =>
    [child.pid!, cluster.agentPid("node1"), cluster.managerPid("node1"), cluster.agentPid("node2")].map((pid) => {
      const rss = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"));
      return Number(rss?.[1] ?? 0) * 1024;
    });
  /** Looks at their memory while `goes()`: none has grown. */
  const stays = async (
    child: ChildProcess,
    goes: () => boolean,
    limit: number,
    of = (growth: number[]): number[] => growth,
  ): Promise<void> => {
    const first = memory(child);
    const most = [...first];
    while (goes()) {
      memory(child).forEach((bytes, i) => {
        most[i] = Math.max(most[i]!, bytes);
      });
      await sleep(100);
    }
    const growth = most.map((bytes, i) => bytes - first[i]!);
    expect(Math.max(...of(growth)), `growth of tsctl, agent, manager, agent: ${growth}`).to.be.lessThan(limit);
    expect(list(cluster, "node1", "node", "ls").map((node) => node.Status)).to.deep.equal(["Ready", "Ready"]);
  };
  /** bin/tsctl is a script that becomes tsctl. */
  const start = (stdin: number | "ignore", ...args: string[]) => {
    const child = spawn(join(ROOT, "bin/tsctl"), ["--host", `unix:${cluster.node("node1").socket}`, ...args], {
      stdio: [stdin, "pipe", "inherit"],
    });
    return { child, ended: once(child, "close") };
  };
  const during = (ms: number) => {
    const until = Date.now() + ms;
    return () => Date.now() < until;
  };
  const gone = (program: string) =>
    eventually(`${program} ends`, 10_000, () => {
      const script = `grep -lx ${program} /proc/[0-9]*/comm || true`;
      return exec(cluster, "box", "sh", "-c", script).trim() === "";
    });

  it("exec: the input waits for a program that reads late", async () => {
    const stdin = openSync(file, "r");
    const { child, ended } = start(stdin, "exec", "-i", "box", "sh", "-c", "sleep 2; wc -c");
    closeSync(stdin);
    let out = "";
    let over = false;
    child.stdout!.on("data", (data) => (out += data));
    void ended.then(() => (over = true));
    await sleep(500);
    // tsctl reads all of the file meanwhile, and V8 may let that much garbage wait: its own test counts what it keeps.
    await stays(
      child,
      () => !over && child.exitCode === null,
      FLOWING,
      ([, ...others]) => others,
    );
    await ended;
    expect(out.trim()).to.equal(String(INPUT_BYTES));
  });

  it("exec: a client that goes while its input waits ends the program", async () => {
    const stdin = openSync(file, "r");
    const { child, ended } = start(stdin, "exec", "-i", "box", "tail", "-f", "/dev/null");
    closeSync(stdin);
    await sleep(500);
    await stays(child, during(2_000), FLOWING);
    child.kill("SIGKILL");
    await ended;
    await gone("tail");
  });

  it("exec: the output waits for a client that does not read, and the program ends with it", async () => {
    const { child, ended } = start("ignore", "exec", "box", "cat", "/dev/zero");
    await sleep(500);
    await stays(child, during(2_000), STANDING);
    child.kill("SIGKILL");
    child.stdout!.resume();
    await ended;
    await gone("cat");
  });

  it("logs: a client that does not read leaves the lines in their file", async () => {
    at("run", "-d", "--name", "talker", "--node", "node2", "localhost/tools:1", "yes", "x".repeat(1_000));
    try {
      const { child, ended } = start("ignore", "logs", "-f", "talker");
      await sleep(500);
      await stays(child, during(2_000), STANDING);
      child.kill("SIGKILL");
      child.stdout!.resume();
      await ended;
    } finally {
      at("rm", "-f", "talker");
    }
  });
});
