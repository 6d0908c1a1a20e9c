// Nodes that speak to each other by IPv6 only: joining, raft, agents, VXLAN, published ports.
import { expect } from "chai";
import { eventually, exec, list, startCluster } from "#test-cluster/e2e/fixture.ts";
import { type TestCluster, tsctl } from "#test-cluster/netns/cluster.ts";

const NAME = "tswsix";
const NUMBER = 69;

describe("nodes on IPv6", function () {
  this.timeout(120_000);
  let cluster: TestCluster;
  const at = (node: string, ...args: string[]) => tsctl(cluster.node(node), ...args);

  before(async () => {
    cluster = await startCluster(NAME, NUMBER, 3, 3, [], 6);
    at("node1", "network", "create", "--ipv6", "backend");
    const common = ["--detach", "--network", "backend", "--replicas", "3", "--replicas-max-per-node", "1"];
    at("node1", "service", "create", "--name", "web", "-p", "8080:80", ...common, "localhost/web:1");
    at("node2", "service", "create", "--name", "client", ...common, "localhost/tools:1");
    await eventually("all tasks run", 30_000, () =>
      list(cluster, "node3", "service", "ls").every(({ Replicas }) => Replicas === "3/3"),
    );
  });
  after(() => cluster?.down());

  it("managers and agents know each other by IPv6 addresses", () => {
    const nodes = list(cluster, "node3", "node", "ls");
    expect(nodes.map((n) => n.ManagerStatus).sort()).to.deep.equal(["Leader", "Reachable", "Reachable"]);
    const [node] = JSON.parse(at("node2", "node", "inspect", "node2"));
    expect(JSON.stringify(node)).to.include(`[fd77:${NUMBER}::2]:2377`).and.not.include("192.168.");
  });

  it("containers reach each other in both families, over VXLAN between IPv6 addresses", () => {
    for (const client of ["client.1", "client.2", "client.3"])
      for (const family of ["-4", "-6"]) {
        const script = `for a in $(dig +short ${family === "-4" ? "A" : "AAAA"} tasks.web); do curl ${family} -s -m 5 -g "http://[$a]/" || curl -s -m 5 "http://$a/"; done; curl ${family} -s -m 5 http://web/`;
        const answers = exec(cluster, client, "sh", "-c", script).trim().split("\n");
        expect(new Set(answers.slice(0, 3).map((l) => l.split(" ")[0])), `${client} ${family}`).to.have.property(
          "size",
          3,
        );
        expect(answers).to.have.length(4);
      }
    const [network] = JSON.parse(at("node1", "network", "inspect", "backend"));
    const ns = `--net=${cluster.node("node1").dir}/run/netns/o-${network.vni}`;
    const [vxlan] = JSON.parse(cluster.onHost("node1", "nsenter", ns, "ip", "-j", "-d", "link", "show", "vxlan0"));
    expect(vxlan.mtu).to.equal(1430);
    expect(vxlan.linkinfo.info_data.local6).to.equal(cluster.node("node1").ipv6);
  });

  it("full-sized packets arrive whole, larger ones do not", () => {
    const [, other] = exec(cluster, "client.1", "dig", "+short", "tasks.client").trim().split("\n").sort();
    const ping = (bytes: number) =>
      exec(cluster, "client.1", "ping", "-c1", "-W2", "-M", "do", "-s", String(bytes), other!);
    expect(ping(1430 - 28)).to.match(/1 received/);
    expect(() => ping(1430 - 27)).to.throw();
  });

  it("every node answers on a published port, and services scale", async () => {
    for (const { name } of cluster.layout.nodes) {
      const asked = exec(cluster, "client.1", "curl", "-s", "-m", "5", `http://[${cluster.node(name).ipv6}]:8080/`);
      expect(asked).to.match(/ 1 fd/);
    }
    at("node1", "service", "scale", "--detach", "web=2");
    await eventually("two tasks", 20_000, () =>
      list(cluster, "node2", "service", "ls").some(({ Name, Replicas }) => Name === "web" && Replicas === "2/2"),
    );
  });
});
