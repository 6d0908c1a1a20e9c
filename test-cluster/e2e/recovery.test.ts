// What operators do when managers are lost for good: the cluster goes on from one manager's log, or from a backup, and what
// runs on the nodes does not notice.
import { existsSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "chai";
import { eventually, list, type Row, refused, startCluster } from "#test-cluster/e2e/fixture.ts";
import { startPing } from "#test-cluster/e2e/ping.ts";
import { findCluster, type TestCluster, tsctl } from "#test-cluster/netns/cluster.ts";
import { addressesOf, type LiveContainer, liveContainers } from "#test-cluster/netns/containers.ts";
import { type Footprint, footprint } from "#test-cluster/netns/footprint.ts";

const NAME = "tswrec";
const MARKS = [NAME];
const MANAGERS = ["node1", "node2", "node3"];
const NODES = [...MANAGERS, "node4"];

type Status = {
  readonly leaderNodeId: string;
  readonly voters: number;
  readonly reachableVoters: number;
  readonly canLose: number;
  readonly warnings: readonly string[];
  readonly members: readonly { readonly name: string; readonly addr: string; readonly reachable: boolean }[];
};

const measured = (what: string, since: number): void =>
  console.log(`      measured: ${what} ${Math.round(performance.now() - since)} ms`);

describe("recovery", function () {
  this.timeout(400_000);
  let cluster: TestCluster;
  let clean: Footprint;
  const at = (node: string, ...args: string[]) => tsctl(cluster.node(node), ...args);
  const status = (node: string): Status => JSON.parse(at(node, "cluster", "status", "--format", "json"));
  const nodes = (asked: string): Row[] => list(cluster, asked, "node", "ls");
  const container = (service: string, node: string, asked: string): LiveContainer => {
    const task = list(cluster, asked, "service", "ps", service).find(
      (t) => t.Node === node && t.DesiredState === "Running",
    )!;
    return liveContainers(cluster).find((c) => c.taskId.startsWith(task.ID!))!;
  };
  const containersOn = (...names: string[]) =>
    liveContainers(cluster)
      .filter((c) => names.includes(c.node))
      .sort((a, b) => (a.taskId < b.taskId ? -1 : 1));

  /** Power off, as far as the others can tell: its processes end without a word, and no packet leaves it. */
  const lose = (name: string): void => {
    const pids = [cluster.agentPid(name), cluster.managerPid(name)].filter((pid) => pid !== 0);
    cluster.setLink(name, false);
    for (const pid of pids) process.kill(pid, "SIGKILL");
  };

  const healthy = (asked: string) =>
    eventually("three managers that vote", 90_000, () => {
      const { canLose, voters, warnings } = status(asked);
      return voters === 3 && canLose === 1 && warnings.length === 0;
    });

  before(async () => {
    await findCluster(NAME)?.down();
    clean = footprint(MARKS);
    cluster = await startCluster(NAME, 72, NODES.length, MANAGERS.length);
    at("node1", "network", "create", "--driver", "overlay", "--subnet", "10.72.0.0/24", "net");
    for (const [name, image] of [
      ["web", ["localhost/web:1"]],
      ["tools", ["localhost/tools:1", "sleep", "infinity"]],
    ] as const)
      at(
        "node1",
        ...["service", "create", "--name", name, "--network", "net", "--replicas", "4"],
        ...["--stop-grace-period", "1s", ...image],
      );
  });
  after(async () => {
    await cluster?.down();
    expect(footprint(MARKS)).to.deep.equal(clean);
  });

  it("a healthy cluster says so on every manager, and refuses a recovery", async () => {
    await healthy("node1");
    for (const name of MANAGERS) expect(status(name).members.map((m) => m.name)).to.have.members(MANAGERS);
    const leader = nodes("node1").find((n) => n.ManagerStatus === "Leader")!.Hostname!;
    for (const name of MANAGERS) {
      const refusal = refused(cluster, name, "cluster", "recover", "--force-new-cluster", "--yes");
      expect(refusal).to.contain("it is not lost").and.contain(`${leader} (`);
    }
    expect(refused(cluster, "node4", "cluster", "recover", "--force-new-cluster", "--yes")).to.contain("not a manager");
    await healthy("node1");
  });

  it("a backup from any manager is checked, for the owner only, and says what it holds", () => {
    const { dir } = cluster.node("node2");
    for (const name of MANAGERS) {
      const path = join(dir, `backup-${name}`);
      expect(at(name, "cluster", "backup", path))
        .to.contain("2 services")
        .and.contain("4 nodes");
      expect(statSync(path).mode & 0o777).to.equal(0o600);
      expect(at("node4", "cluster", "backup", "--verify", path)).to.contain("is complete");
    }
    expect(refused(cluster, "node4", "cluster", "backup", join(dir, "none"))).to.contain("worker");
    expect(existsSync(join(dir, "none"))).to.equal(false);
    truncateSync(join(dir, "backup-node1"), 1_000);
    expect(refused(cluster, "node4", "cluster", "backup", "--verify", join(dir, "backup-node1"))).to.contain("cut off");
    writeFileSync(join(dir, "no-backup"), "something else");
    expect(refused(cluster, "node4", "cluster", "restore", join(dir, "no-backup"))).to.contain("not a backup");
    expect(refused(cluster, "node4", "cluster", "restore", join(dir, "backup-node2"))).to.contain("already part of");
  });

  it("two of three managers are lost: the third says so, goes on alone, and no container and no packet is lost", async () => {
    const before = containersOn("node3", "node4");
    const ping = await startPing(
      container("tools", "node3", "node3"),
      addressesOf(container("tools", "node4", "node3"))[0]!,
    );
    lose("node1");
    lose("node2");
    await eventually("the third manager knows", 60_000, () => status("node3").leaderNodeId === "");
    const lost = status("node3");
    expect(lost).to.include({ voters: 3, reachableVoters: 1, canLose: 0 });
    expect(lost.warnings.join("\n"))
      .to.contain("1 of 3 managers can be reached")
      .and.match(/bring node[12], node[12] back/)
      .and.contain("recover --force-new-cluster` on node3");
    expect(at("node3", "cluster", "status")).to.contain("LOST: 1 of 3");
    expect(refused(cluster, "node3", "network", "create", "--driver", "overlay", "alone")).to.contain(
      "no manager leads",
    );

    const since = performance.now();
    const said = at("node3", "cluster", "recover", "--force-new-cluster", "--yes");
    measured("recovery", since);
    expect(said)
      .to.match(/Left out: node[12], node[12]\./)
      .and.contain("raft.before-recover-");
    await eventually("the agents are back", 60_000, () => {
      const now = nodes("node3");
      return ["node3", "node4"].every((name) => now.find((n) => n.Hostname === name)?.Status === "Ready");
    });
    measured("agents attached again", since);
    expect(nodes("node3").find((n) => n.Hostname === "node3")?.ManagerStatus).to.equal("Leader");
    await eventually("tasks of the lost hosts run elsewhere", 120_000, () => {
      const tasks = list(cluster, "node3", "service", "ps", "tools").filter((t) => t.DesiredState === "Running");
      return (
        tasks.length === 4 &&
        tasks.every((t) => ["node3", "node4"].includes(t.Node!) && t.CurrentState!.startsWith("Running"))
      );
    });
    expect(containersOn("node3", "node4")).to.deep.include.members(before);
    const { lost: missing, answered } = await ping.stop();
    expect(missing).to.deep.equal([]);
    expect(answered).to.be.greaterThan(50);
  });

  it("the cluster is writable: a service is updated", () => {
    at("node3", "service", "update", "--image", "localhost/web:2", "web");
    for (const task of list(cluster, "node3", "service", "ps", "tools").filter((t) => t.DesiredState === "Running"))
      expect(at("node3", "exec", task.Name!, "curl", "-s", "-m", "5", "http://web/")).to.match(/ 2 /);
  });

  it("an old manager that returns with its log disturbs nobody, is a worker, and can be promoted", async () => {
    const { leaderNodeId } = status("node3");
    cluster.setLink("node1", true);
    await cluster.startAgent("node1");
    await eventually("a worker", 60_000, () => {
      const node = nodes("node3").find((n) => n.Hostname === "node1")!;
      return node.Status === "Ready" && node.Role === "worker" && cluster.managerPid("node1") === 0;
    });
    expect(status("node3")).to.include({ leaderNodeId, voters: 1 });
    at("node3", "node", "promote", "node1");
    await eventually("two voters", 90_000, () => status("node3").voters === 2);
  });

  it("a host that is set up anew joins and is promoted: one manager may be lost again", async () => {
    await cluster.startAgent("node2");
    at("node2", "cluster", "leave", "--force");
    cluster.setLink("node2", true);
    const token = at("node3", "cluster", "join-token", "--quiet", "worker").trim();
    const { ipv4 } = cluster.node("node2");
    at("node2", "cluster", "join", "--advertise-addr", ipv4, "--token", token, `${cluster.node("node3").ipv4}:2377`);
    at("node3", "node", "promote", nodes("node3").find((n) => n.Hostname === "node2" && n.Status === "Ready")!.ID!);
    await healthy("node3");
  });

  it("a manager that is started with another address is reached there", async () => {
    const before = containersOn(...NODES);
    const address = "192.168.72.101";
    cluster.onHost("node1", "ip", "addr", "add", `${address}/24`, "dev", "eth0");
    for (const pid of [cluster.agentPid("node1"), cluster.managerPid("node1")]) process.kill(pid, "SIGTERM");
    await eventually("the agent has ended", 60_000, () => cluster.agentPid("node1") === 0);
    await cluster.startAgent("node1", `--advertise-addr=${address}`);
    await eventually("the quorum knows", 60_000, () =>
      status("node3").members.some((m) => m.name === "node1" && m.addr === `${address}:2377` && m.reachable),
    );
    await healthy("node3");
    await eventually("the nodes too", 60_000, () =>
      nodes("node3").some((n) => n.Hostname === "node1" && n.Address === address && n.Status === "Ready"),
    );
    const addresses = JSON.parse(at("node4", "info", "--format", "json")).managerAddrs;
    expect(addresses).to.include(`${address}:2377`);
    expect(containersOn(...NODES)).to.deep.equal(before);
  });

  it("all managers are lost: a backup makes the cluster anew, and what runs on the workers goes on", async () => {
    at("node3", "service", "scale", "tools=8");
    const backup = join(cluster.layout.dir, "last");
    at("node3", "cluster", "backup", backup);
    const before = containersOn("node4");
    const tools = list(cluster, "node3", "service", "ps", "tools").filter(
      (t) => t.Node === "node4" && t.DesiredState === "Running",
    );
    const [from, to] = tools.map((t) => before.find((c) => c.taskId.startsWith(t.ID!))!);
    const ping = await startPing(from!, addressesOf(to!)[0]!);
    for (const name of MANAGERS) lose(name);

    await cluster.startAgent("node3");
    at("node3", "cluster", "leave", "--force");
    cluster.setLink("node3", true);
    const since = performance.now();
    expect(at("node3", "cluster", "restore", backup)).to.contain("only manager");
    measured("restore", since);
    await eventually("the worker is back", 60_000, () =>
      nodes("node3").some((n) => n.Hostname === "node4" && n.Status === "Ready"),
    );
    measured("the worker attached", since);
    expect(status("node3")).to.include({ voters: 1, reachableVoters: 1 });
    await eventually("tasks of the lost hosts run elsewhere", 120_000, () => {
      const tasks = list(cluster, "node3", "service", "ps", "tools").filter((t) => t.DesiredState === "Running");
      return tasks.length === 8 && tasks.every((t) => t.CurrentState!.startsWith("Running"));
    });
    expect(containersOn("node4")).to.deep.include.members(before);
    expect((await ping.stop()).lost).to.deep.equal([]);
    at("node3", "service", "update", "--image", "localhost/web:1", "web");
    for (const task of list(cluster, "node3", "service", "ps", "tools").filter((t) => t.DesiredState === "Running"))
      expect(at("node3", "exec", task.Name!, "curl", "-s", "-m", "5", "http://web/")).to.match(/ 1 /);
  });

  it("restored under an address that no agent knows: a worker that is told goes there, and its containers go on", async () => {
    const backup = join(cluster.layout.dir, "again");
    at("node3", "cluster", "backup", backup);
    const before = containersOn("node4");
    at("node3", "cluster", "leave", "--force");
    const address = "192.168.72.103";
    cluster.onHost("node3", "ip", "addr", "add", `${address}/24`, "dev", "eth0");
    at("node3", "cluster", "restore", "--advertise-addr", address, "--listen-addr", address, backup);
    const token = at("node3", "cluster", "join-token", "--quiet", "worker").trim();
    const nodeId = at("node4", "info", "--format", "{{.NodeId}}").trim();
    expect(at("node4", "cluster", "join", "--token", token, `${address}:2377`)).to.contain(nodeId);
    await eventually("the worker is back", 60_000, () =>
      nodes("node3").some((n) => n.Hostname === "node4" && n.Status === "Ready"),
    );
    expect(containersOn("node4")).to.deep.equal(before);
    expect(refused(cluster, "node4", "cluster", "join", "--token", token, `${address}:2377`)).to.contain(
      "already part",
    );
  });
});
