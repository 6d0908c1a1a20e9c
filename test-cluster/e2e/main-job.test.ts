// The main job on three hosts: real containers, one overlay network, from the first command to nothing left behind.
import { type ChildProcess, spawn } from "node:child_process";
import { expect } from "chai";
import { eventually, exec, list, refused, startCluster } from "#test-cluster/e2e/fixture.ts";
import { type TestCluster, tsctl } from "#test-cluster/netns/cluster.ts";
import { type Footprint, footprint } from "#test-cluster/netns/footprint.ts";
import { run } from "#test-cluster/netns/system.ts";

const NAME = "tswe2e";
const MARKS = [NAME];

describe("main job", function () {
  this.timeout(240_000);
  let cluster: TestCluster;
  let clean: Footprint;
  const at = (node: string, ...args: string[]) => tsctl(cluster.node(node), ...args);

  before(async () => {
    clean = footprint(MARKS);
    cluster = await startCluster(NAME, 61);
  });
  after(async () => {
    await cluster?.down();
    expect(footprint(MARKS)).to.deep.equal(clean);
  });

  it("has three managers, one of them the leader", () => {
    const nodes = list(cluster, "node2", "node", "ls");
    expect(nodes.map((n) => n.Hostname).sort()).to.deep.equal(["node1", "node2", "node3"]);
    expect(nodes.map((n) => n.ManagerStatus).sort()).to.deep.equal(["Leader", "Reachable", "Reachable"]);
    expect(new Set(nodes.map((n) => n.Status))).to.deep.equal(new Set(["Ready"]));
  });

  it("runs services spread over the nodes", () => {
    at("node1", "network", "create", "--driver", "overlay", "--subnet", "10.77.0.0/24", "backend");
    at("node1", "service", "create", "--name", "web", "--network", "backend", "--replicas", "6", "localhost/web:1");
    at(
      "node2",
      "service",
      "create",
      "--name",
      "client",
      "--network",
      "backend",
      "--replicas",
      "3",
      "localhost/tools:1",
      "sleep",
      "infinity",
    );
    const web = list(cluster, "node3", "service", "ps", "web");
    expect(web).to.have.length(6);
    const perNode = Object.groupBy(web, (t) => t.Node!);
    expect(Object.values(perNode).map((t) => t!.length)).to.deep.equal([2, 2, 2]);
    expect(list(cluster, "node1", "service", "ls").find((s) => s.Name === "web")!.Replicas).to.equal("6/6");
  });

  it("every client reaches every backend by virtual IP and by name", () => {
    const hostnames = new Set<string>();
    for (const client of ["client.1", "client.2", "client.3"]) {
      const reached = new Set<string>();
      const answers = exec(cluster, client, "sh", "-c", "for i in $(seq 120); do curl -s -m 5 http://web/; done");
      for (const line of answers.trim().split("\n")) {
        reached.add(line.split(" ")[0]!);
        hostnames.add(line.split(" ")[0]!);
      }
      expect([...reached], `backends that ${client} reached`).to.have.length(6);
      const addresses = exec(cluster, client, "dig", "+short", "tasks.web").trim().split("\n");
      expect(new Set(addresses)).to.have.property("size", 6);
      const [vip] = exec(cluster, client, "dig", "+short", "web").trim().split("\n");
      expect(addresses).not.to.include(vip);
      for (const address of addresses)
        expect(exec(cluster, client, "curl", "-s", "-m", "5", `http://${address}/`)).to.contain(" 1 ");
    }
    expect(hostnames).to.have.property("size", 6);
  });

  it("the backend sees the client's own address", () => {
    const own = exec(
      cluster,
      "client.1",
      "sh",
      "-c",
      'ip -j -4 addr show eth0 | grep -o \'"local":"[^"]*\' | cut -d\'"\' -f4',
    ).trim();
    expect(exec(cluster, "client.1", "curl", "-s", "http://web/").trim().split(" ").at(-1)).to.equal(own);
  });

  it("overlay traffic is VXLAN between the nodes and nothing else", async () => {
    const node = cluster.node("node1");
    const capture: ChildProcess = spawn(
      "ip",
      ["netns", "exec", node.netns, "tcpdump", "-n", "-l", "-i", "eth0", "-c", "400", "not", "port", "2377"],
      {
        stdio: ["ignore", "pipe", "pipe"],
      },
    );
    let seen = "";
    capture.stdout!.on("data", (d) => (seen += d));
    await new Promise<void>((resolve) => capture.stderr!.once("data", () => resolve()));
    const local = list(cluster, "node1", "service", "ps", "client").find((t) => t.Node === "node1")!.Name!;
    exec(cluster, local, "sh", "-c", "for i in $(seq 30); do curl -s -m 5 http://web/; done");
    await eventually("captured packets", 5_000, () => seen.split("\n").length > 50);
    capture.kill("SIGINT");
    const outer = seen.split("\n").filter((l) => / IP6? /.test(l) && /^\d\d:/.test(l));
    const vxlan = outer.filter((l) => /192\.168\.61\.\d+\.\d+ > 192\.168\.61\.\d+\.4789: VXLAN/.test(l));
    expect(vxlan.length).to.be.greaterThan(20);
    const stray = outer.filter((l) => !vxlan.includes(l) && / 10\.77\./.test(l));
    expect(stray).to.deep.equal([]);
  });

  it("FDB and neighbours are planned, nothing is learned", () => {
    const tasks = [
      ...list(cluster, "node1", "service", "ps", "web"),
      ...list(cluster, "node1", "service", "ps", "client"),
    ];
    const remote = tasks.filter((t) => t.Node !== "node1").length;
    const [network] = JSON.parse(at("node1", "network", "inspect", "backend"));
    const ns = [`--net=${cluster.node("node1").dir}/run/netns/o-${network.vni}`];
    const inOverlay = (...command: string[]) => JSON.parse(cluster.onHost("node1", "nsenter", ...ns, ...command));
    const [vxlan] = inOverlay("ip", "-j", "-d", "link", "show", "vxlan0");
    expect(vxlan.linkinfo.info_data.learning).to.equal(false);
    expect(vxlan.linkinfo.info_data.port).to.equal(4789);
    const fdb = inOverlay("bridge", "-j", "fdb", "show", "dev", "vxlan0").filter((e: { dst?: string }) => e.dst);
    expect(fdb).to.have.length(remote);
    expect(new Set(fdb.map((e: { dst: string }) => e.dst))).to.deep.equal(
      new Set([cluster.node("node2").ipv4, cluster.node("node3").ipv4]),
    );
    const neighbours = inOverlay("ip", "-j", "neigh", "show", "dev", "vxlan0").filter((n: { state: string[] }) =>
      n.state.includes("PERMANENT"),
    );
    expect(neighbours).to.have.length(remote);
  });

  it("logs and exec reach any node", () => {
    const log = at("node2", "service", "logs", "--tail", "5", "web");
    expect(log).to.match(/web\.\d/);
    expect(() => exec(cluster, "client.2", "sh", "-c", "exit 7"))
      .to.throw()
      .with.property("status", 7);
  });

  it("scales, updates and removes", () => {
    at("node1", "service", "scale", "web=12");
    expect(list(cluster, "node1", "service", "ls").find((s) => s.Name === "web")!.Replicas).to.equal("12/12");
    at("node1", "service", "scale", "web=4");
    at(
      "node1",
      "service",
      "update",
      "--update-parallelism",
      "2",
      "--update-monitor",
      "500ms",
      "--image",
      "localhost/web:2",
      "web",
    );
    const answers = exec(cluster, "client.1", "sh", "-c", "for i in $(seq 20); do curl -s -m 5 http://web/; done")
      .trim()
      .split("\n");
    expect(new Set(answers.map((l) => l.split(" ")[1]))).to.deep.equal(new Set(["2"]));
  });

  it("refuses by field, reason and remedy, and changes nothing", () => {
    const services = at("node1", "service", "ls", "-q");
    const networks = at("node1", "network", "ls", "-q");
    const table: [string[], RegExp][] = [
      [["service", "create", "--name", "x", "localhost/missing:1"], /image.*missing:1.*tsctl image load/s],
      [["service", "create", "--name", "web", "localhost/web:1"], /name.*web/s],
      [["service", "create", "--name", "-bad-", "localhost/web:1"], /name/],
      [["service", "create", "--name", "x", "--network", "nowhere", "localhost/web:1"], /network.*nowhere/s],
      [["network", "create", "--driver", "overlay", "--subnet", "10.77.0.128/25", "other"], /subnet.*backend/s],
      [["network", "create", "--driver", "overlay", "--subnet", "192.168.61.0/24", "other"], /subnet.*node/s],
      [["network", "create", "--driver", "overlay", "backend"], /name.*backend/s],
      [["network", "rm", "backend"], /in use|used/],
      [["node", "rm", "node2"], /manager|down/],
    ];
    for (const [args, message] of table) expect(refused(cluster, "node1", ...args), args.join(" ")).to.match(message);
    expect(at("node1", "service", "ls", "-q")).to.equal(services);
    expect(at("node1", "network", "ls", "-q")).to.equal(networks);
  });

  it("a removed service and network are gone everywhere", async () => {
    at("node1", "service", "rm", "web");
    at("node1", "service", "rm", "client");
    await eventually("network removed", 30_000, () => at("node1", "network", "rm", "backend") !== undefined);
    for (const node of ["node1", "node2", "node3"])
      await eventually(`no namespace on ${node}`, 10_000, () => {
        const left = run("sh", ["-c", `ls ${cluster.node(node).dir}/run/netns 2>/dev/null || true`]).trim();
        const mounted = cluster
          .onHost(node, "sh", "-c", `grep -c ${cluster.node(node).dir}/run/netns/ /proc/self/mountinfo || true`)
          .trim();
        return left === "" && mounted === "0";
      });
  });
});
