// No request is lost while tasks are replaced: a client opens connections as fast as it can through updates and drains, real
// HTTP by virtual IP and by published port. UDP has no connections that could end: its client must not stay with a backend that is gone.
import { expect } from "chai";
import { eventually, list, startCluster } from "#test-cluster/e2e/fixture.ts";
import { type HttpResult, startHttpClient } from "#test-cluster/e2e/http-client.ts";
import { startUdpClient, startUdpServer } from "#test-cluster/e2e/udp.ts";
import { findCluster, type TestCluster, tsctl } from "#test-cluster/netns/cluster.ts";
import { type LiveContainer, liveContainers } from "#test-cluster/netns/containers.ts";
import { type Footprint, footprint } from "#test-cluster/netns/footprint.ts";

const NAME = "tswzero";
const MARKS = [NAME];
const UPDATES = 20;
const PUBLISHED = 8080;

describe("zero loss", function () {
  this.timeout(120_000);
  let cluster: TestCluster;
  let clean: Footprint;
  const at = (node: string, ...args: string[]) => tsctl(cluster.node(node), ...args);
  const container = (service: string): LiveContainer => {
    const [task] = list(cluster, "node1", "service", "ps", service).filter((t) => t.DesiredState === "Running");
    return liveContainers(cluster).find((c) => c.taskId.startsWith(task!.ID!))!;
  };
  const vip = (service: string): string =>
    JSON.parse(at("node1", "service", "inspect", service))[0].vips[0].ipv4.split("/")[0];

  before(async () => {
    await findCluster(NAME)?.down();
    clean = footprint(MARKS);
    cluster = await startCluster(NAME, 65);
    at("node1", "network", "create", "--driver", "overlay", "net");
    const web = ["--replicas", "3", "--update-order", "start-first", "--update-monitor", "1ms", "localhost/web:1"];
    at("node1", "service", "create", "--name", "web", "--network", "net", "--publish", `${PUBLISHED}:80`, ...web);
    const client = ["--constraint", "node.hostname==node1", "localhost/tools:1"];
    at("node1", "service", "create", "--name", "client", "--network", "net", ...client);
  });
  after(async () => {
    await cluster?.down();
    expect(footprint(MARKS)).to.deep.equal(clean);
  });

  const updated = () =>
    eventually("the update is complete", 20_000, () =>
      /"state": "completed"/.test(at("node1", "service", "inspect", "web")),
    );
  /** Three tasks run, none of them on `node`, and none has to leave any more. */
  const leftNode = (node: string) =>
    eventually(`no task on ${node}`, 20_000, () => {
      const live = list(cluster, "node1", "service", "ps", "web").filter((t) => /^Running/.test(t.CurrentState!));
      return live.length === 3 && live.every((t) => t.DesiredState === "Running" && t.Node !== node);
    });

  it("through rolling updates and drained nodes, start first", async () => {
    const address = vip("web");
    const inside = `/proc/${container("client").pid}/ns/net`;
    const { ipv4 } = cluster.node("node1");
    const outside = `/run/netns/${cluster.node("node2").netns}`;
    const clients = [await startHttpClient(inside, address), await startHttpClient(outside, ipv4, PUBLISHED)];
    const results: HttpResult[] = [];
    try {
      let began = performance.now();
      for (let i = 0; i < UPDATES; i++) {
        at("node1", "service", "update", "--detach", "--force", "--update-parallelism", String(1 + (i % 3)), "web");
        await updated();
      }
      console.log(`      measured: ${UPDATES} updates ${Math.round(performance.now() - began)} ms`);
      began = performance.now();
      for (const node of ["node3", "node2", "node3", "node2"]) {
        at("node1", "node", "update", "--availability", "drain", node);
        await leftNode(node);
        at("node1", "node", "update", "--availability", "active", node);
      }
      console.log(`      measured: 4 drains ${Math.round(performance.now() - began)} ms`);
    } finally {
      for (const client of clients) results.push(await client.stop());
    }
    for (const { answered, servers, failed } of results) {
      console.log(`      measured: ${answered} requests to ${servers.length} tasks`);
      expect(failed).to.deep.equal([]);
      expect(servers.length).to.be.greaterThan(UPDATES);
    }
  });

  it("a UDP client that keeps its port goes to another backend when its own leaves", async () => {
    // One on node2, one on node3, and no third place.
    const placement = [
      "--constraint",
      "node.hostname!=node1",
      "--replicas-max-per-node",
      "1",
      "--replicas",
      "2",
      "--detach",
    ];
    at("node1", "service", "create", "--name", "echo", "--network", "net", ...placement, "localhost/tools:1");
    const tasks = await eventually("two servers", 20_000, () => {
      const all = list(cluster, "node1", "service", "ps", "echo");
      return all.length === 2 && all.every((t) => /^Running/.test(t.CurrentState!)) && all;
    });
    const live = liveContainers(cluster);
    const servers = tasks.map((task) => startUdpServer(live.find((c) => c.taskId.startsWith(task.ID!))!, task.Node!));
    const client = await startUdpClient(container("client"), vip("echo"));
    try {
      const first = client.last().from;
      at("node1", "node", "update", "--availability", "drain", first);
      const began = performance.now();
      const { from } = await eventually("another answers", 10_000, () => client.last().from !== first && client.last());
      console.log(`      measured: another backend answers after ${Math.round(performance.now() - began)} ms`);
      expect(["node2", "node3"].filter((node) => node !== first)).to.deep.equal([from]);
      at("node1", "node", "update", "--availability", "active", first);
    } finally {
      client.stop();
      for (const server of servers) server.kill("SIGKILL");
    }
  });
});
