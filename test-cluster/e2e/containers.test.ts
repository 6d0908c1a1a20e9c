// Containers of their own on two hosts: from `tsctl run` to nothing left, and networks that come and go while they run.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { expect } from "chai";
import { eventually, exec, list, ROOT, refused } from "#test-cluster/e2e/fixture.ts";
import { startPing } from "#test-cluster/e2e/ping.ts";
import { ensureImages } from "#test-cluster/images/images.ts";
import { createCluster, findCluster, type TestCluster, tsctl } from "#test-cluster/netns/cluster.ts";
import { inNetworkOf, type LiveContainer, liveContainers } from "#test-cluster/netns/containers.ts";
import { type Footprint, footprint } from "#test-cluster/netns/footprint.ts";
import { formCluster, loadImages } from "#test-cluster/netns/form.ts";
import { sleep } from "#test-cluster/netns/system.ts";

const NAME = "tswrun";
const MARKS = [NAME];

type Ended = { readonly code: number | null; readonly out: string; readonly err: string };

describe("containers of their own", function () {
  this.timeout(90_000);
  let cluster: TestCluster;
  let clean: Footprint;
  const at = (node: string, ...args: string[]) => tsctl(cluster.node(node), ...args);
  const run = (name: string, node: string, ...flags: string[]) =>
    at("node1", "run", "-d", "--name", name, "--node", node, ...flags, "localhost/tools:1", "sleep", "infinity").trim();
  const container = (id: string): LiveContainer => liveContainers(cluster).find((c) => c.taskId === id)!;
  const task = (ref: string) => JSON.parse(at("node1", "inspect", ref))[0];
  const address = (ref: string, network: string): string => {
    const { id } = JSON.parse(at("node1", "network", "inspect", network))[0];
    return task(ref)
      .attachments.find((a: { networkId: string }) => a.networkId === id)
      .ipv4.split("/")[0];
  };
  const links = (id: string): string[] =>
    (JSON.parse(inNetworkOf(container(id), "ip", "-j", "link")) as { ifname: string }[])
      .map((link) => link.ifname)
      .filter((name) => name !== "lo")
      .sort();
  /** tsctl with its exit code, and a way to interrupt it. */
  const started = (...args: string[]) => {
    const child = spawn(join(ROOT, "bin/tsctl"), ["--host", `unix:${cluster.node("node1").socket}`, ...args]);
    const said = { out: "", err: "" };
    child.stdout.on("data", (data) => (said.out += data));
    child.stderr.on("data", (data) => (said.err += data));
    const ended = once(child, "close").then(([code]): Ended => ({ code, ...said }));
    return { child, said, ended };
  };

  before(async () => {
    await findCluster(NAME)?.down();
    clean = footprint(MARKS);
    const { images } = await ensureImages();
    cluster = await createCluster({ name: NAME, number: 66, nodes: 2 });
    await formCluster(cluster, 1);
    const used = images.filter(({ name }) => name === "localhost/tools:1" || name === "localhost/web:1");
    loadImages(
      cluster,
      used.map(({ archive }) => archive),
    );
    for (const [name, subnet] of [
      ["one", "10.81.0.0/24"],
      ["two", "10.82.0.0/24"],
    ] as const)
      at("node1", "network", "create", "--attachable", "--subnet", subnet, name);
    at("node1", "network", "create", "--subnet", "10.83.0.0/24", "closed");
  });
  after(async () => {
    await cluster?.down();
    expect(footprint(MARKS)).to.deep.equal(clean);
  });

  it("run in the foreground: output, exit code, and nothing left with --rm", async () => {
    const script = "echo out; echo err >&2; hostname; exit 7";
    const { code, out, err } = await started("run", "--rm", "--hostname", "me", "localhost/tools:1", "sh", "-c", script)
      .ended;
    expect({ code, out, err }).to.deep.equal({ code: 7, out: "out\nme\n", err: "err\n" });
    expect(list(cluster, "node1", "ps", "-a")).to.deep.equal([]);
    const refusal = await started("run", "--network", "closed", "localhost/tools:1").ended;
    expect(refusal.code).to.equal(1);
    expect(refusal.err).to.include("network closed is not attachable").and.include("--attachable");
  });

  it("end with Ctrl-C", async () => {
    const { child, said, ended } = started(
      "run",
      "--rm",
      "--name",
      "loop",
      "--stop-signal",
      "TERM",
      "localhost/tools:1",
      "sh",
      "-c",
      "trap 'exit 3' TERM; echo ready; while :; do sleep 0.1; done",
    );
    await eventually("it is ready", 10_000, () => said.out.includes("ready"));
    child.kill("SIGINT");
    expect((await ended).code).to.equal(3);
    expect(list(cluster, "node1", "ps", "-a")).to.deep.equal([]);
  });

  it("reach each other by name and alias on other hosts, and are found by name", async () => {
    const a = run("a", "node1", "--network", "one");
    run("b", "node2", "--network", "name=one,alias=bee,ip=10.81.0.50");
    expect(refused(cluster, "node1", "run", "-d", "--name", "a", "localhost/tools:1")).to.include(
      `container a exists (${a})`,
    );
    expect(list(cluster, "node1", "ps").map((row) => [row.Names, row.Node])).to.have.deep.members([
      ["a", "node1"],
      ["b", "node2"],
    ]);
    for (const name of ["b", "bee", "10.81.0.50"])
      await eventually(`a reaches ${name}`, 5_000, () => exec(cluster, "a", "ping", "-c", "1", "-W", "1", name));
    exec(cluster, "b", "ping", "-c", "1", "-W", "1", "a");
  });

  it("are connected and disconnected while they run; what they have goes on", async () => {
    const a = task("a").id;
    const server = inNetworkServer(container(task("b").id));
    const talk = startTalk(container(a), "10.81.0.50");
    const pings = await startPing(container(a), "10.81.0.50");
    try {
      await eventually("it talks", 5_000, () => talk.echoed() > 0);

      at("node1", "network", "connect", "--alias", "ay", "two", "a");
      expect(links(a)).to.deep.equal(["eth0", "eth1"]);
      expect(exec(cluster, "a", "cat", "/etc/hosts")).to.include(`${address("a", "two")}\t${a.slice(0, 12)}`);
      at("node1", "network", "connect", "two", "b");
      for (const name of ["a.two", "ay"])
        await eventually(`b reaches ${name}`, 5_000, () => exec(cluster, "b", "ping", "-c", "1", "-W", "1", name));
      expect(exec(cluster, "b", "dig", "+short", "ay").trim()).to.equal(address("a", "two"));

      at("node1", "network", "disconnect", "two", "a");
      expect(links(a)).to.deep.equal(["eth0"]);
      expect(exec(cluster, "a", "cat", "/etc/hosts")).not.to.include("10.82.0.");
      await eventually("its name is forgotten", 5_000, () => exec(cluster, "b", "dig", "+short", "ay").trim() === "");

      const before = talk.echoed();
      await eventually("the connection lives", 5_000, () => talk.echoed() > before);
    } finally {
      const failed = talk.stop();
      server.kill();
      const { lost, answered } = await pings.stop();
      expect(failed).to.equal(undefined);
      expect(lost).to.deep.equal([]);
      expect(answered).to.be.greaterThan(5);
    }
  });

  it("keep the names of their interfaces when an earlier one goes", async () => {
    const a = task("a").id;
    at("node1", "network", "connect", "two", "a");
    at("node1", "network", "disconnect", "one", "a");
    expect(links(a)).to.deep.equal(["eth1"]);
    await eventually("a reaches b over the other network", 5_000, () =>
      exec(cluster, "a", "ping", "-c", "1", "-W", "1", "b"),
    );
    at("node1", "network", "connect", "one", "a");
    expect(links(a)).to.deep.equal(["eth0", "eth1"]);
    at("node1", "network", "disconnect", "two", "a");
    expect(links(a)).to.deep.equal(["eth0"]);
  });

  it("a service's task is connected alone, and reaches and is reached there", async () => {
    at(
      "node1",
      "service",
      "create",
      "-d",
      "--drain-timeout",
      "0s",
      "--name",
      "web",
      "--network",
      "two",
      "--replicas",
      "2",
      "localhost/web:1",
    );
    at(
      "node1",
      "service",
      "create",
      "-d",
      "--name",
      "lone",
      "--network",
      "closed",
      "localhost/tools:1",
      "sleep",
      "infinity",
    );
    await eventually(
      "three tasks run",
      20_000,
      () => list(cluster, "node1", "ps", "--filter", "is-task=true", "--filter", "status=running").length === 3,
    );
    at("node1", "network", "connect", "two", "lone.1");
    const { spec, id } = task("lone.1");
    expect(spec.networks).to.have.length(1);
    const servers = exec(cluster, "lone.1", "sh", "-c", "for i in $(seq 20); do curl -s -m 5 http://web/; done");
    expect(
      new Set(
        servers
          .trim()
          .split("\n")
          .map((line) => line.split(" ")[0]),
      ).size,
    ).to.equal(2);
    at("node1", "network", "connect", "two", "a");
    await eventually("its name", 5_000, () => exec(cluster, "a", "ping", "-c", "1", "-W", "1", "lone.1"));
    await sleep(1_000);
    expect(task("lone.1").id).to.equal(id);
    at("node1", "network", "disconnect", "two", "lone.1");
    expect(links(id)).to.have.length(1);
    at("node1", "service", "rm", "--detach", "web", "lone");
  });

  it("on the host's network find their ports free, or are told who has them", async () => {
    const listener = spawn("nsenter", [
      `--net=/run/netns/${cluster.node("node1").netns}`,
      ...["/usr/bin/perl", "-MIO::Socket::INET", "-e"],
      "my $s = IO::Socket::INET->new(LocalPort => 8099, Listen => 1) or die; sleep",
    ]);
    try {
      await eventually("it listens", 5_000, () => cluster.onHost("node1", "ss", "-ltn").includes(":8099 "));
      const { code, err } = await started("run", "--network", "host", "-p", "8099:8099", "localhost/tools:1").ended;
      expect(code).to.equal(125);
      expect(err).to.match(/port 8099\/tcp of this host is in use by perl \(pid \d+\)/);
    } finally {
      listener.kill();
    }
  });

  it("the doctor of all nodes tells who was hurt, what was done about it, and what it can't mend", async () => {
    const healthy = await started("net", "doctor").ended;
    expect(healthy.out).to.match(/^node1: no differences \(\d+ objects checked\)\nnode2: no differences \(\d+ objects/);
    expect(healthy.code).to.equal(0);
    const watching = started("net", "doctor", "--watch");
    try {
      cluster.onHost("node2", "nft", "flush", "ruleset");
      await eventually("the flushed table is told", 10_000, () =>
        /node2: \S+ .*(missing|differs).*: repaired/.test(watching.said.out),
      );
    } finally {
      watching.child.kill("SIGINT");
    }
    expect((await watching.ended).out).not.to.include("node1:");
    const mended = await started("net", "doctor", "--node", "node2").ended;
    expect(mended.out)
      .to.match(/^node2: no differences/)
      .and.include("repaired lately:");
    expect(mended.code).to.equal(0);
    expect(cluster.onHost("node2", "nft", "list", "tables")).to.include("tswarm");
    exec(cluster, "a", "ping", "-c", "1", "-W", "1", "b");

    cluster.setLink("node2", false);
    const cut = await started("net", "doctor").ended;
    cluster.setLink("node2", true);
    expect(cut.out).to.match(/^node1: no differences.*\nnode2: not examined: /);
    expect(cut.code).to.equal(1);
    await eventually("it answers again", 30_000, () => at("node1", "net", "doctor", "--node", "node2"));
  });

  it("stop, and are removed", async () => {
    expect(refused(cluster, "node1", "rm", "a")).to.include("a has not ended");
    expect(at("node1", "stop", "a")).to.equal("a\n");
    expect(list(cluster, "node1", "ps", "-a").find((row) => row.Names === "a")!.Status).to.match(/^Exited \(\d+\)/);
    const left = list(cluster, "node1", "ps", "-aq", "--filter", "is-task=false").length;
    expect(left).to.be.greaterThan(1);
    at("node1", "rm", "-f", ...list(cluster, "node1", "ps", "-a", "--filter", "is-task=false").map((row) => row.ID!));
    expect(list(cluster, "node1", "ps", "-a", "--filter", "is-task=false")).to.deep.equal([]);
    await eventually("nobody is on the networks", 10_000, () => at("node1", "network", "rm", "one", "two", "closed"));
  });
});

const PORT = 7_007;

/** Sends back what it gets. */
const inNetworkServer = (container: LiveContainer) =>
  spawn("nsenter", [
    `--net=/proc/${container.pid}/ns/net`,
    process.execPath,
    "-e",
    `require("node:net").createServer((s) => s.pipe(s)).listen(${PORT})`,
  ]);

/** One connection that says something twenty times a second. */
const startTalk = (container: LiveContainer, to: string) => {
  const script = `
    const connect = () => {
      const socket = require("node:net").connect(${PORT}, "${to}", () => setInterval(() => socket.write("x"), 50));
      socket.on("error", (e) => e.code === "ECONNREFUSED" ? setTimeout(connect, 50) : (console.error(e.code), process.exit(1)));
      socket.on("data", (data) => process.stdout.write(data));
    };
    connect();`;
  const child = spawn("nsenter", [`--net=/proc/${container.pid}/ns/net`, process.execPath, "-e", script]);
  let echoed = 0;
  let failed: string | undefined;
  child.stdout.on("data", (data: Buffer) => (echoed += data.length));
  child.stderr.on("data", (data: Buffer) => (failed = data.toString()));
  return {
    echoed: () => echoed,
    /** What went wrong. */
    stop: () => {
      child.kill();
      return failed;
    },
  };
};
