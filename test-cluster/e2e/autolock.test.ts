// Autolock with real agents and managers: what is on the disks of managers opens only with the unlock key, and what runs on
// them does not notice.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "chai";
import { eventually, list, ROOT, refused, startCluster } from "#test-cluster/e2e/fixture.ts";
import { findCluster, type TestCluster, tsctl } from "#test-cluster/netns/cluster.ts";
import { type LiveContainer, liveContainers } from "#test-cluster/netns/containers.ts";
import { type Footprint, footprint } from "#test-cluster/netns/footprint.ts";
import { run } from "#test-cluster/netns/system.ts";

const NAME = "tswlock";
const MARKS = [NAME];
const MANAGERS = ["node1", "node2", "node3"];
const LABEL = "a-label-that-nobody-else-has";
const WRONG = `TSWKEY-1-${"A".repeat(43)}`;

describe("autolock", function () {
  this.timeout(120_000);
  let cluster: TestCluster;
  let clean: Footprint;
  let key = "";
  const at = (node: string, ...args: string[]) => tsctl(cluster.node(node), ...args);
  const data = (node: string, ...path: string[]) => join(cluster.node(node).dir, "data", ...path);
  const state = (node: string): string => JSON.parse(at(node, "info", "--format", "json")).state;
  const unlock = (node: string, input: string): string =>
    run(join(ROOT, "bin/tsctl"), ["--host", `unix:${cluster.node(node).socket}`, "cluster", "unlock"], {
      input,
      stdio: ["pipe", "pipe", "pipe"],
    });
  const unlockRefused = (node: string, input: string): string => {
    try {
      unlock(node, input);
    } catch (error) {
      return (error as { stderr: string }).stderr;
    }
    throw new Error("it was unlocked");
  };
  const identity = (node: string) => JSON.parse(readFileSync(data(node, "identity", "identity.json"), "utf8"));
  /** Which key opens its log's keys. */
  const opener = (node: string): string =>
    JSON.parse(readFileSync(data(node, "manager", "raft", "keys"), "utf8"))
      .boxes.map((box: { key: string }) => box.key)
      .join();
  const powerOff = (node: string): void => {
    for (const pid of [cluster.agentPid(node), cluster.managerPid(node)]) if (pid !== 0) process.kill(pid, "SIGKILL");
  };
  const restart = async (node: string): Promise<void> => {
    powerOff(node);
    await cluster.startAgent(node);
  };
  const ready = (node: string) =>
    eventually(`${node} is a manager that the others reach`, 30_000, () =>
      list(cluster, "node1", "node", "ls").some(
        (n) => n.Hostname === node && n.Status === "Ready" && ["Reachable", "Leader"].includes(n.ManagerStatus!),
      ),
    );
  const containerOn = (node: string): LiveContainer => liveContainers(cluster).find((c) => c.node === node)!;

  before(async () => {
    await findCluster(NAME)?.down();
    clean = footprint(MARKS);
    // A locked node is away for the others: nobody shall replace its tasks while a test looks at them.
    cluster = await startCluster(NAME, 74, MANAGERS.length, MANAGERS.length, ["--dispatcher-heartbeat", "60s"]);
    at(
      "node1",
      ...["service", "create", "--name", "tools", "--replicas", "3", "--label", `secret=${LABEL}`],
      ...["localhost/tools:1", "sleep", "infinity"],
    );
    await eventually("a container on each", 30_000, () => liveContainers(cluster).length === MANAGERS.length);
  });
  after(async () => {
    await cluster?.down();
    expect(footprint(MARKS)).to.deep.equal(clean);
  });

  it("is turned on: every manager seals its keys with the unlock key", async () => {
    const before = MANAGERS.map(opener);
    expect(new Set(before).size).to.equal(3);
    const said = at("node2", "cluster", "update", "--autolock=true");
    key = /TSWKEY-1-[\w-]{43}/.exec(said)![0];
    expect(at("node3", "cluster", "unlock-key", "-q")).to.equal(`${key}\n`);
    await eventually("all are locked", 10_000, () =>
      MANAGERS.every((node) => identity(node).keyPem === undefined && !opener(node).includes(",")),
    );
    expect(new Set(MANAGERS.map(opener)).size).to.equal(1);
    expect(before).not.to.include(opener("node1"));
  });

  it("a manager that is started again is locked; what runs on it goes on, and only the right key unlocks it", async () => {
    const before = containerOn("node3");
    await restart("node3");
    expect(state("node3")).to.equal("locked");
    expect(cluster.managerPid("node3")).to.equal(0);
    for (const args of [
      ["node", "ls"],
      ["service", "ls"],
      ["cluster", "status"],
    ])
      expect(refused(cluster, "node3", ...args)).to.contain(
        "the cluster is locked. Unlock it with `tsctl cluster unlock`",
      );
    expect(refused(cluster, "node3", "cluster", "init")).to.contain("already part of a cluster");
    const file = readFileSync(data("node3", "identity", "identity.json"));
    for (const wrong of [WRONG, "nonsense"]) expect(unlockRefused("node3", `${wrong}\n`)).to.contain("unlock key");
    expect(readFileSync(data("node3", "identity", "identity.json")).equals(file)).to.equal(true);
    expect(state("node3")).to.equal("locked");
    expect(containerOn("node3")).to.deep.equal(before);
    unlock("node3", `${key}\n`);
    await ready("node3");
    expect(containerOn("node3")).to.deep.equal(before);
    expect(unlockRefused("node3", key)).to.contain("it is not locked");
  });

  it("a manager process that dies is started again without being asked for the key", async () => {
    const pid = cluster.managerPid("node3");
    process.kill(pid, "SIGKILL");
    await eventually("another one", 20_000, () => ![0, pid].includes(cluster.managerPid("node3")));
    await ready("node3");
  });

  it("a manager that was down while the key was rotated needs the key that it went away with", async () => {
    powerOff("node3");
    const old = key;
    at("node1", "cluster", "unlock-key", "--rotate");
    key = at("node1", "cluster", "unlock-key", "-q").trim();
    expect(key).not.to.equal(old);
    await cluster.startAgent("node3");
    expect(unlockRefused("node3", key)).to.contain("the key that was valid when it went down");
    unlock("node3", old);
    await ready("node3");
    await eventually("it has the new key", 10_000, () => opener("node3") === opener("node1"));
    await restart("node3");
    expect(unlockRefused("node3", old)).to.contain("not the one");
    unlock("node3", key);
    await ready("node3");
  });

  it("no file of a manager, no process and no log shows a secret", () => {
    const tokens = ["worker", "manager"].map((role) => at("node1", "cluster", "join-token", "-q", role).trim());
    const secrets = [key, key.slice("TSWKEY-1-".length), ...tokens.map((t) => t.split("-").at(-1)!), LABEL];
    const visible = (what: string, bytes: Buffer) => {
      for (const secret of [...secrets, "PRIVATE KEY"])
        expect(bytes.includes(secret), `${secret} in ${what}`).to.equal(false);
    };
    let files = 0;
    for (const node of MANAGERS) {
      for (const folder of ["manager", "identity"])
        for (const entry of readdirSync(data(node, folder), { recursive: true, withFileTypes: true }))
          if (entry.isFile()) {
            const file = join(entry.parentPath, entry.name);
            visible(file, readFileSync(file));
            files++;
          }
      visible(`${node}'s log`, readFileSync(join(cluster.node(node).dir, "agent.log")));
      for (const pid of [cluster.agentPid(node), cluster.managerPid(node)])
        for (const what of ["cmdline", "environ"]) visible(`${what} of ${pid}`, readFileSync(`/proc/${pid}/${what}`));
    }
    expect(files).to.be.greaterThan(8);
  });

  it("a manager that is demoted has neither log nor lock any more", async () => {
    at("node1", "node", "demote", "node3");
    await eventually("a worker", 30_000, () => typeof identity("node3").keyPem === "string");
    expect(existsSync(data("node3", "manager"))).to.equal(false);
    await restart("node3");
    await eventually("active", 20_000, () => state("node3") === "active");
    at("node1", "node", "promote", "node3");
    await ready("node3");
    await eventually("locked like the others", 10_000, () => opener("node3") === opener("node1"));
  });

  it("is turned off: managers start by themselves again", async () => {
    at("node1", "cluster", "update", "--autolock=false");
    await eventually("all are open", 10_000, () =>
      MANAGERS.every((node) => typeof identity(node).keyPem === "string" && !opener(node).includes(",")),
    );
    expect(new Set(MANAGERS.map(opener)).size).to.equal(3);
    expect(refused(cluster, "node1", "cluster", "unlock-key")).to.contain("autolock is off");
    await restart("node3");
    await ready("node3");
  });
});
