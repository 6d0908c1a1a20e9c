// The matrix of reachability on three hosts: every driver, both families, from inside of containers. What must come out, and
// why, is in reachability-rules.ts.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "chai";
import { eventually, exec, list, refused, startCluster } from "#test-cluster/e2e/fixture.ts";
import { FINDINGS, kindsStack, MAC, PINNED, ROUTED } from "#test-cluster/e2e/reachability-kinds.ts";
import {
  expectedSource,
  LOOPBACK,
  PORT_CELLS,
  type PortCell,
  type PortClient,
  renderPorts,
} from "#test-cluster/e2e/reachability-ports.ts";
import { type Answer, askAll, type Question } from "#test-cluster/e2e/reachability-probe.ts";
import { AXES, CELLS, type Cell, expectedOf, renderMatrix } from "#test-cluster/e2e/reachability-rules.ts";
import {
  clientOn,
  outside,
  PLACES,
  publishedPort,
  reachabilityStack,
  serverOn,
} from "#test-cluster/e2e/reachability-stack.ts";
import { ROOT, type TestCluster, tsctl } from "#test-cluster/netns/cluster.ts";
import { liveContainers } from "#test-cluster/netns/containers.ts";
import { run } from "#test-cluster/netns/system.ts";

const NAME = "tswreach";
const NUMBER = 67;
const CLOSED_PORT = 81;

describe("reachability", function () {
  this.timeout(180_000);
  let cluster: TestCluster;
  const at = (node: string, ...args: string[]) => tsctl(cluster.node(node), ...args);

  before(async () => {
    cluster = await startCluster(NAME, NUMBER);
    const ns = cluster.layout.switchNetns;
    run("ip", ["-n", ns, "addr", "add", `${outside(NUMBER)[4]}/24`, "dev", "br0"]);
    run("ip", ["-n", ns, "addr", "add", `${outside(NUMBER)[6]}/64`, "dev", "br0", "nodad"]);
    const file = join(cluster.layout.dir, "reachability.json");
    writeFileSync(file, reachabilityStack(NUMBER));
    at("node1", "stack", "deploy", "-c", file, "r");
    await eventually("all services run", 60_000, () =>
      list(cluster, "node1", "service", "ls").every(({ Replicas }) => Replicas === "1/1"),
    );
  });
  after(() => cluster?.down());

  const taskOf = (service: string) => `r_${service}.1`;
  /** The command line that runs a program in the task of a service. */
  const inside = (service: string): string[] => {
    const { socket } = cluster.node("node1");
    return [join(ROOT, "bin/tsctl"), "--host", `unix:${socket}`, "exec", taskOf(service)];
  };
  /** The same programs on the machine outside of the nodes. */
  const outsideOf = (service: string): string[] => {
    const [{ ID: id = "" } = {}] = list(cluster, "node1", "service", "ps", `r_${service}`);
    const { pid } = liveContainers(cluster).find(({ taskId }) => taskId.startsWith(id))!;
    return ["nsenter", `--net=/run/netns/${cluster.layout.switchNetns}`, `--mount=/proc/${pid}/ns/mnt`];
  };
  const nodeAddress = (host: Cell["host"], family: 4 | 6): string => {
    const { ipv4, ipv6 } = cluster.node(PLACES[host]);
    return family === 4 ? ipv4 : ipv6;
  };
  /** Of every task, as the manager gave them out. */
  const taskAddresses = (): ReadonlyMap<string, Readonly<Record<4 | 6, string>>> => {
    const networks = JSON.parse(at("node1", "network", "inspect", "r_bridge", "r_overlay", "r_macvlan"));
    const tasks: Record<"name" | "ipv4" | "ipv6", string>[] = networks.flatMap((n: { tasks: unknown }) => n.tasks);
    return new Map(tasks.map((t) => [t.name, { 4: t.ipv4.split("/")[0]!, 6: t.ipv6.split("/")[0]! }]));
  };

  const questionOf = (
    { driver, host, family, way, protocol }: Cell,
    addresses: ReturnType<typeof taskAddresses>,
  ): Question => {
    const server = serverOn(driver, host);
    // On the networks host and none it has none of its own.
    const address = addresses.get(taskOf(server))?.[family] ?? nodeAddress(host, family);
    const [target, port] = {
      address: [address, 80] as const,
      closed: [address, CLOSED_PORT] as const,
      name: [`tasks.${server}`, 80] as const,
      vip: [server, 80] as const,
      published: [nodeAddress(host, family), publishedPort(driver, host)] as const,
    }[way];
    return { protocol, family, target, port };
  };

  it("is as the rules say, from inside of containers", async () => {
    const asked = CELLS.filter((cell) => expectedOf(cell).verdict !== "n/a");
    const answers = new Map<Cell, Answer>();
    const addresses = taskAddresses();
    await Promise.all(
      AXES.driver.map(async (driver) => {
        const cells = asked.filter((cell) => cell.driver === driver);
        const questions = cells.map((cell) => questionOf(cell, addresses));
        const got = await askAll(inside(clientOn(driver)), questions);
        cells.forEach((cell, i) => void answers.set(cell, got[i]!));
      }),
    );
    const verdictOf = (cell: Cell) => answers.get(cell)?.verdict ?? "n/a";
    process.stdout.write(`\n${renderMatrix(verdictOf)}\n`);
    const wrong = asked
      .filter((cell) => verdictOf(cell) !== expectedOf(cell).verdict)
      .map((cell) => `${Object.values(cell).join(" ")}: ${answers.get(cell)!.output}`);
    expect(wrong).to.deep.equal([]);
  });

  it("network none publishes nothing", () => {
    const flags = ["--name", "x", "--network", "none", "-p", "8099:80", "localhost/web:1"];
    expect(refused(cluster, "node1", "service", "create", ...flags)).to.match(/none/);
  });

  it("a published port's backend sees the client, whatever node it asked", async () => {
    const clients: Readonly<Record<PortClient, string[]>> = {
      outside: outsideOf(clientOn("overlay")),
      node: inside(clientOn("host")),
      "on the overlay": inside(clientOn("overlay")),
      "on the bridge": inside(clientOn("bridge")),
    };
    const names = new Map<string, string>();
    for (const { ifname, addr_info } of JSON.parse(cluster.onHost("node1", "ip", "-j", "addr")))
      for (const { local } of addr_info) names.set(local, ifname === "eth0" ? "node1" : "gateway");
    for (const address of Object.values(outside(NUMBER))) names.set(address, "client");
    const seen = new Map<PortCell, Answer>();
    await Promise.all(
      Object.entries(clients).map(async ([client, command]) => {
        const cells = PORT_CELLS.filter((cell) => cell.client === client);
        const questions = cells.map(({ asked, server, family, protocol }): Question => {
          const [driver, host] = server.split("-") as [Cell["driver"], Cell["host"]];
          const port = publishedPort(driver, host);
          const target = asked === "loopback" ? LOOPBACK[family] : cluster.node(asked)[`ipv${family}`];
          return { protocol, family, target, port };
        });
        const got = await askAll(command, questions);
        cells.forEach((cell, i) => void seen.set(cell, got[i]!));
      }),
    );
    const result = (cell: PortCell): string => {
      const { verdict, source } = seen.get(cell)!;
      if (verdict !== "reachable") return verdict;
      return names.get(source) ?? source;
    };
    process.stdout.write(`\n${renderPorts(result)}\n`);
    const wrong = PORT_CELLS.filter((cell) => result(cell) !== expectedSource(cell)).map(
      (cell) => `${Object.values(cell).join(" ")}: ${seen.get(cell)!.output}`,
    );
    expect(wrong).to.deep.equal([]);
  });

  describe("networks with options", () => {
    const addresses = (network: string): ReadonlyMap<string, Record<4 | 6, string>> => {
      const [{ tasks }] = JSON.parse(
        at("node1", "network", "inspect", network === "default" ? "bridge" : `k_${network}`),
      );
      return new Map(
        tasks.map((t: { name: string; ipv4: string; ipv6: string }) => [
          t.name,
          { 4: t.ipv4.split("/")[0], 6: t.ipv6.split("/")[0] },
        ]),
      );
    };
    const insideOf = (service: string): string[] => [...inside(service).slice(0, -1), `k_${service}.1`];
    const allRun = (stack: string) =>
      eventually(`${stack} runs`, 60_000, () =>
        list(cluster, "node1", "stack", "services", stack).every(({ Replicas }) => /^(\d+)\/\1$/.test(Replicas!)),
      );

    before(async () => {
      const file = join(cluster.layout.dir, "kinds.json");
      writeFileSync(file, kindsStack());
      at("node1", "stack", "deploy", "-c", file, "k");
      const { switchNetns: ns } = cluster.layout;
      for (const family of [4, 6] as const)
        run("ip", ["-n", ns, "route", "add", ROUTED[family], "via", cluster.node("node1")[`ipv${family}`]]);
      await allRun("k");
    });

    it("lead where they should", async () => {
      const known = new Map<string, ReturnType<typeof addresses>>();
      const resolve = (target: string, family: 4 | 6): string => {
        if (target === "outside") return outside(NUMBER)[family];
        if (target === "node1") return cluster.node("node1")[`ipv${family}`];
        const [network, service] = target.split("/") as [string, string?];
        if (service === undefined) return target;
        if (!known.has(network)) known.set(network, addresses(network));
        return known.get(network)!.get(`k_${service}.1`)![family];
      };
      const wrong = await Promise.all(
        Object.entries(Object.groupBy(FINDINGS, ({ client }) => client)).map(async ([client, findings]) => {
          const command = client === "outside" ? outsideOf(clientOn("overlay")) : insideOf(`${client}-client`);
          // The default bridge has IPv4 only.
          const families = client === "default" ? ([4] as const) : ([4, 6] as const);
          const asked = findings!.flatMap((f) => families.map((family) => ({ ...f, family })));
          const questions = asked.map(({ protocol, family, target }) => ({
            protocol,
            family,
            target: resolve(target, family),
            port: 80,
          }));
          const answers = await askAll(command, questions);
          return asked.flatMap(({ target, family, verdict }, i) =>
            answers[i]!.verdict === verdict ? [] : [`${client} ${target} v${family}: ${answers[i]!.output}`],
          );
        }),
      );
      expect(wrong.flat()).to.deep.equal([]);
    });

    const links = (
      service: string,
    ): { ifname: string; mtu: number; address: string; addr_info: { local: string }[] }[] =>
      JSON.parse(exec(cluster, `k_${service}.1`, "ip", "-j", "addr"));

    it("have the MTU and the VNI that were asked for", () => {
      expect(links("other-client").find((l) => l.ifname === "eth0")!.mtu).to.equal(1420);
      expect(links("several").find((l) => l.ifname === "back0")!.mtu).to.equal(1300);
      const ns = `--net=${cluster.node("node1").dir}/run/netns/o-777`;
      const [vxlan] = JSON.parse(cluster.onHost("node1", "nsenter", ns, "ip", "-j", "-d", "link", "show", "vxlan0"));
      expect(vxlan.linkinfo.info_data.id).to.equal(777);
    });

    it("give a container the interfaces that it asked for", () => {
      const byName = new Map(links("several").map((l) => [l.ifname, l]));
      expect([...byName.keys()].sort()).to.deep.equal(["back0", "eth0", "lo", "out0"]);
      expect(byName.get("out0")!.address).to.equal(MAC);
      const routes = JSON.parse(exec(cluster, "k_several.1", "ip", "-j", "route", "show", "default"));
      expect(routes.map((r: { dev: string }) => r.dev)).to.deep.equal(["out0"]);
      const own = addresses("odd");
      expect([1, 2].map((slot) => own.get(`k_pinned.${slot}`)![4])).to.deep.equal(PINNED);
    });

    it("internal ones do not ask for names outside", () => {
      const status = (service: string): string =>
        exec(
          cluster,
          `k_${service}.1`,
          "sh",
          "-c",
          "dig +tries=1 +time=3 host.example | grep -o 'status: [A-Z]*'",
        ).trim();
      for (const service of ["inner-client", "deep-client"])
        expect(status(service), service).to.equal("status: NXDOMAIN");
      // Asked, and the resolvers of the machine are not to be reached from the nodes.
      expect(status("plain-client")).to.equal("status: SERVFAIL");
    });

    it("take a subnet while they live", async () => {
      at("node1", "service", "scale", "--detach", "k_crowd=6");
      await eventually("the subnet is full", 10_000, () =>
        at("node1", "service", "ps", "--no-trunc", "k_crowd").includes("no IPv4 address is free in 10.91.0.0/29"),
      );
      at("node1", "network", "update", "--subnet-add", "10.92.0.0/24", "k_small");
      await allRun("k");
      const added = addresses("small").get("k_crowd.6")![4];
      expect(added).to.match(/^10\.92\.0\./);
      const [there] = await askAll(insideOf("crowd"), [{ protocol: "icmp", family: 4, target: added, port: 0 }]);
      expect(there!.verdict).to.equal("reachable");
    });
  });
});
