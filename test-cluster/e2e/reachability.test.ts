// The matrix of reachability on three hosts: every driver, both families, from inside of containers. What must come out, and
// why, is in reachability-rules.ts.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "chai";
import { eventually, list, refused, startCluster } from "#test-cluster/e2e/fixture.ts";
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
});
