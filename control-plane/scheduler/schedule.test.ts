import { expect } from "chai";
import { makeNode } from "#control-plane/orchestrator/fake-cluster.ts";
import { matchesConstraints, parseConstraint } from "#control-plane/specs/constraint.ts";
import { createState } from "#control-plane/state/state.ts";
import type { State, Tx } from "#control-plane/state/types.ts";
import {
  type DeepPartial,
  Network,
  Node,
  NodeAvailability,
  NodeState,
  type PortConfig,
  PortMode,
  PortProtocol,
  Service,
  Task,
  type TaskSpec,
  TaskState,
} from "#proto/gen/types.ts";
import { schedule } from "./schedule.ts";

const ctx = { now: 1_000_000, newId: () => "unused" };

const commit = (state: State, write: (tx: Tx) => void): void => {
  const tx = state.begin();
  write(tx);
  const command = { id: String(state.index), time: ctx.now, changes: tx.changes() };
  expect(state.apply(state.index + 1, command)).to.deep.equal({ ok: true });
};

const withNodes = (...nodes: Node[]): State => {
  const state = createState();
  commit(state, (tx) => {
    for (const node of nodes) tx.put("node", node);
  });
  return state;
};

/** Puts `count` pending tasks of a service and schedules them; the nodes by slot, "" where none was found. */
const place = (
  state: State,
  serviceId: string,
  count: number,
  spec: DeepPartial<TaskSpec> = {},
  ports: PortConfig[] = [],
): string[] => {
  const ids = Array.from({ length: count }, (_, i) => `${serviceId}-${String(i + 1).padStart(6, "0")}`);
  commit(state, (tx) => {
    ids.forEach((id, i) => {
      const fields = { id, serviceId, slot: i + 1, desiredState: TaskState.TASK_RUNNING, specVersion: 1, ports };
      const filled = { container: { image: "localhost/web:1" }, ...spec };
      tx.put("task", Task.fromPartial({ ...fields, spec: filled, status: { state: TaskState.TASK_PENDING } }));
    });
  });
  commit(state, (tx) => schedule(tx, ctx, { tasks: ids }));
  return ids.map((id) => state.get("task", id)?.nodeId ?? "");
};

const errorOf = (state: State, serviceId: string, slot = 1): string | undefined =>
  state.tasksOfService(serviceId).find((task) => task.slot === slot)?.status?.error;

const counts = (placed: readonly string[]): Record<string, number> =>
  Object.fromEntries([...Map.groupBy(placed, (id) => id)].map(([id, list]) => [id, list.length]));

describe("scheduler", () => {
  it("spreads by the service's own tasks first, then by all tasks", () => {
    const state = withNodes(makeNode("n1"), makeNode("n2"), makeNode("n3"));
    expect(counts(place(state, "a", 4))).to.satisfy(
      (found: Record<string, number>) => Object.values(found).sort().join() === "1,1,2",
    );
    const [full] = [...Map.groupBy(state.all("task"), (task) => task.nodeId)].find(([, tasks]) => tasks.length === 2)!;
    expect(place(state, "b", 2)).not.to.include(full);
    expect(counts(place(state, "c", 6))).to.deep.equal({ n1: 2, n2: 2, n3: 2 });
  });

  it("begins with different nodes for different services", () => {
    const firsts = new Set<string>();
    for (const service of ["a", "b", "c", "d", "e", "f", "g", "h"])
      firsts.add(place(withNodes(makeNode("n1"), makeNode("n2"), makeNode("n3")), service, 1)[0]!);
    expect(firsts.size).to.be.greaterThan(1);
  });

  it("spreads over the values of a preference before it spreads over nodes", () => {
    const labelled = (id: string, dc: string) =>
      makeNode(id, { spec: { availability: NodeAvailability.ACTIVE, annotations: { name: "", labels: { dc } } } });
    const state = withNodes(labelled("n1", "a"), labelled("n2", "b"), labelled("n3", "b"), labelled("n4", "b"));
    expect(counts(place(state, "web", 6, { placement: { spread: ["node.labels.dc"] } }))).to.deep.equal({
      n1: 3,
      n2: 1,
      n3: 1,
      n4: 1,
    });
  });

  it("explains with each filter why there is no node", () => {
    const busy = { nanoCpus: 1e9, memoryBytes: 1e9 };
    const state = withNodes(
      makeNode("n1", { status: { state: NodeState.NODE_DOWN } }),
      makeNode("n2", { spec: { availability: NodeAvailability.PAUSE } }),
      makeNode("n3", { description: { os: "linux", images: [] } }),
    );
    expect(place(state, "web", 1, { container: { image: "localhost/web:9" } })).to.deep.equal([""]);
    expect(errorOf(state, "web")).to.equal(
      "no suitable node (2 nodes not available for new tasks; image localhost/web:9 is missing on 1 node: load it there with tsctl image load)",
    );
    const other = withNodes(
      makeNode("n1"),
      makeNode("n2", { description: { ...makeNode("n2").description!, os: "plan9" } }),
    );
    place(other, "web", 1, { reservations: { nanoCpus: 9e9 } });
    expect(errorOf(other, "web")).to.equal(
      "no suitable node (1 node can't run Linux containers; insufficient resources on 1 node)",
    );
    place(other, "db", 1, { placement: { constraints: ["node.labels.rack==a"] }, reservations: busy });
    expect(errorOf(other, "db")).to.equal("no suitable node (scheduling constraints not satisfied on 2 nodes)");
    const none = withNodes();
    place(none, "web", 1);
    expect(errorOf(none, "web")).to.equal("no suitable node (the cluster has no node)");
  });

  it("goes only where a network has its parent interface, and where the kernel has its driver", () => {
    const named = (id: string, hostname: string, capabilities = {}) => {
      const node = makeNode(id);
      return { ...node, description: { ...node.description!, hostname, capabilities } };
    };
    const state = withNodes(named("n1", "a"), named("n2", "b"), named("n3", "c", { macvlan: "no such driver" }));
    const lan = (options: Record<string, string>): Network =>
      Network.fromPartial({ id: "lan", spec: { annotations: { name: "lan" }, driver: "macvlan", options } });
    commit(state, (tx) => tx.put("network", lan({ "parent@b": "eth1", "parent@c": "eth1" })));
    expect(new Set(place(state, "web", 2, { networks: [{ target: "lan" }] }))).to.deep.equal(new Set(["n2"]));
    commit(state, (tx) => tx.put("network", { ...tx.get("network", "lan")!, spec: lan({ "parent@d": "eth1" }).spec }));
    expect(place(state, "api", 1, { networks: [{ target: "lan" }] })).to.deep.equal([""]);
    expect(errorOf(state, "api")).to.match(/3 nodes without a parent interface for network lan.*parent@HOSTNAME/);
  });

  it("takes a pinned digest, not the name, and `latest` where there is no tag", () => {
    const state = withNodes(
      makeNode("n1", { description: { images: [{ digest: "sha256:new", names: ["localhost/web:latest"] }] } }),
    );
    expect(place(state, "old", 1, { container: { image: "localhost/web", imageDigest: "sha256:old" } })).to.deep.equal([
      "",
    ]);
    expect(place(state, "new", 1, { container: { image: "localhost/web", imageDigest: "sha256:new" } })).to.deep.equal([
      "n1",
    ]);
    expect(place(state, "any", 1, { container: { image: "localhost/web" } })).to.deep.equal(["n1"]);
  });

  it("fills reservations and no further, and counts tasks that are still leaving", () => {
    const state = withNodes(makeNode("n1"), makeNode("n2"));
    const placed = place(state, "web", 5, { reservations: { nanoCpus: 4e9 } });
    expect(counts(placed)).to.deep.equal({ n1: 2, n2: 2, "": 1 });
    expect(errorOf(state, "web", 5)).to.equal("no suitable node (insufficient resources on 2 nodes)");
    const [first] = state.tasksOfNode("n1");
    commit(state, (tx) => tx.put("task", { ...first!, desiredState: TaskState.TASK_SHUTDOWN }));
    const last = state.tasksOfService("web").find((task) => task.slot === 5)!;
    commit(state, (tx) => schedule(tx, ctx, { tasks: [last.id] }));
    expect(state.get("task", last.id)?.nodeId).to.equal("");
    const leaving = state.get("task", first!.id)!;
    commit(state, (tx) =>
      tx.put("task", { ...leaving, status: { ...leaving.status!, state: TaskState.TASK_SHUTDOWN } }),
    );
    commit(state, (tx) => schedule(tx, ctx, { tasks: [last.id] }));
    expect(state.get("task", last.id)).to.deep.include({ nodeId: "n1" });
    expect(errorOf(state, "web", 5)).to.equal("");
  });

  it("keeps to the most replicas per node", () => {
    const state = withNodes(makeNode("n1"), makeNode("n2"));
    expect(counts(place(state, "web", 3, { placement: { maxReplicasPerNode: 1 } }))).to.deep.equal({
      n1: 1,
      n2: 1,
      "": 1,
    });
    expect(errorOf(state, "web", 3)).to.equal("no suitable node (max replicas per node limit reached on 2 nodes)");
  });

  const port = (published: number, hostIp = "", protocol: PortProtocol = PortProtocol.TCP): PortConfig => ({
    name: "",
    protocol,
    target: 80,
    published,
    mode: PortMode.HOST,
    hostIp,
  });

  it("gives a port of mode host to one task on a node until that has ended", () => {
    const state = withNodes(makeNode("n1"), makeNode("n2"));
    expect(counts(place(state, "web", 3, {}, [port(8080)]))).to.deep.equal({ n1: 1, n2: 1, "": 1 });
    expect(errorOf(state, "web", 3)).to.equal("no suitable node (port 8080/tcp in use on 2 nodes)");
    expect(counts(place(state, "udp", 2, {}, [port(8080, "", PortProtocol.UDP)]))).to.deep.equal({ n1: 1, n2: 1 });
    expect(place(state, "other", 1, {}, [port(9090), port(8080, "127.0.0.1")])).to.deep.equal([""]);
    expect(errorOf(state, "other")).to.equal("no suitable node (ports 9090/tcp, 127.0.0.1:8080/tcp in use on 2 nodes)");
    const [first] = state.tasksOfService("web").filter((task) => task.nodeId === "n1");
    const waiting = state.tasksOfService("web").find((task) => task.slot === 3)!;
    const end = (fields: DeepPartial<Task>): string | undefined => {
      commit(state, (tx) => tx.put("task", Task.fromPartial({ ...state.get("task", first!.id)!, ...fields })));
      commit(state, (tx) => schedule(tx, ctx, { tasks: [waiting.id] }));
      return state.get("task", waiting.id)?.nodeId;
    };
    expect(end({ desiredState: TaskState.TASK_SHUTDOWN })).to.equal("");
    expect(end({ status: { state: TaskState.TASK_SHUTDOWN } })).to.equal("n1");
  });

  it("lets two tasks have one number on two addresses of a node", () => {
    const state = withNodes(makeNode("n1"));
    expect(place(state, "a", 1, {}, [port(80, "127.0.0.1")])).to.deep.equal(["n1"]);
    expect(place(state, "b", 1, {}, [port(80, "192.0.2.1")])).to.deep.equal(["n1"]);
    expect(place(state, "c", 1, {}, [port(80)])).to.deep.equal([""]);
  });

  it("keeps off the ports of a node's own programs", () => {
    const hostPorts = [{ protocol: PortProtocol.TCP, port: 80, hostIp: "", owner: "nginx (pid 1)" }];
    const state = withNodes(
      makeNode("n1", { description: { ...makeNode("n1").description!, hostPorts } }),
      makeNode("n2", { status: { state: NodeState.NODE_DOWN } }),
    );
    expect(place(state, "web", 1, {}, [port(80)])).to.deep.equal([""]);
    expect(errorOf(state, "web")).to.equal(
      "no suitable node (1 node not available for new tasks; port 80/tcp in use on 1 node)",
    );
  });

  it("knows the listener of a task that has ended from a stranger's", () => {
    const state = withNodes(makeNode("n1"));
    expect(place(state, "old", 1, {}, [port(80)])).to.deep.equal(["n1"]);
    const [old] = state.tasksOfService("old");
    const hostPorts = [{ protocol: PortProtocol.TCP, port: 80, hostIp: "", owner: "nginx (pid 1)" }];
    commit(state, (tx) => {
      const node = tx.get("node", "n1")!;
      tx.put("node", Node.fromPartial({ ...node, description: { ...node.description!, hostPorts } }));
      tx.put("task", { ...old!, status: { ...old!.status!, state: TaskState.TASK_SHUTDOWN } });
    });
    const placed = place(state, "new", 1, {}, [port(80)]);
    expect([placed, errorOf(state, "new")]).to.deep.equal([["n1"], ""]);
  });

  it("finds free ports on the node, none that the mesh has, and gives none twice", () => {
    const state = withNodes(makeNode("n1"));
    commit(state, (tx) => {
      const ports = Array.from({ length: 28_232 - 4 }, (_, i) => ({ ...port(32_768 + i), mode: PortMode.INGRESS }));
      tx.put("service", Service.fromPartial({ id: "mesh", ports }));
    });
    expect(counts(place(state, "web", 3, {}, [port(0), port(0)]))).to.deep.equal({ n1: 2, "": 1 });
    const found = state.tasksOfNode("n1").flatMap((task) => task.ports.map((p) => p.published));
    expect(found.sort()).to.deep.equal([60_996, 60_997, 60_998, 60_999]);
    expect(errorOf(state, "web", 3)).to.equal("no suitable node (all free ports in use on 1 node)");
  });

  it("tries a node last where the service failed five times lately", () => {
    const state = withNodes(makeNode("n1"), makeNode("n2"));
    commit(state, (tx) => {
      for (let i = 0; i < 5; i++)
        tx.put(
          "task",
          Task.fromPartial({
            id: `f${i}`,
            serviceId: "web",
            nodeId: "n1",
            slot: 1,
            desiredState: TaskState.TASK_SHUTDOWN,
            status: { state: TaskState.TASK_FAILED },
          }),
        );
    });
    expect(place(state, "web", 3)).to.deep.equal(["n2", "n2", "n2"]);
    expect(place(state, "db", 2).sort()).to.deep.equal(["n1", "n2"]);
  });

  it("writes nothing when nothing is new", () => {
    const state = withNodes();
    place(state, "web", 2);
    const tx = state.begin();
    schedule(tx, ctx, { tasks: state.tasksOfService("web").map((task) => task.id) });
    expect(tx.changes()).to.deep.equal([]);
  });

  it("places 20,000 tasks of one service evenly on 1,000 nodes", function () {
    this.timeout(60_000);
    const state = withNodes(...Array.from({ length: 1000 }, (_, i) => makeNode(`n${i}`)));
    const placed = place(state, "web", 20_000);
    expect(Object.values(counts(placed)).every((count) => count === 20)).to.equal(true);
  });
});

describe("constraints", () => {
  const node = makeNode("n1", {
    spec: { annotations: { name: "", labels: { rack: "A" } } },
    description: { hostname: "host1", os: "linux", arch: "amd64", engineLabels: { "a.b": "c" } },
  });
  for (const [text, expected] of [
    ["node.labels.rack==a", true],
    ["node.labels.rack != a", false],
    ["node.labels.none!=x", true],
    ["node.labels.none==x", false],
    ["node.role==worker", true],
    ["node.role!=manager", true],
    ["node.id==N1", true],
    ["node.hostname==host1", true],
    ["node.platform.arch==arm64", false],
    ["engine.labels.a.b==c", true],
    ["node.unknown!=x", false],
    ["nonsense", false],
  ] as const)
    it(`${text}: ${expected}`, () => {
      expect(matchesConstraints(node, [text])).to.equal(expected);
    });

  it("refuses what is none", () => {
    for (const text of ["", "==x", "node.id==", "node.labels.==x", "rack==a", "node.id=x"])
      expect(parseConstraint(text), text).to.equal(undefined);
  });
});
