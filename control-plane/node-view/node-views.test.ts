import { expect } from "chai";
import {
  createFakeCluster,
  makeNetwork,
  makeNode,
  makeSpec,
  setSpec,
} from "#control-plane/orchestrator/fake-cluster.ts";
import { createWalk, WALK_NODES } from "#control-plane/orchestrator/random-walk.ts";
import type { Assignment } from "#proto/gen/dispatcher.ts";
import { NodeState, PortConfig, PortMode, PortProtocol, type Task, TaskState } from "#proto/gen/types.ts";
import { nodeView } from "./node-view.ts";
import { createNodeViews, type NodeViews, type ViewChanges } from "./node-views.ts";

const applyChanges = (view: Map<string, Assignment>, { put, remove }: ViewChanges): void => {
  for (const key of remove) view.delete(key);
  for (const item of put) view.set(item.key, item);
};
const sorted = (view: ReadonlyMap<string, Assignment>): Assignment[] =>
  [...view.values()].sort((a, b) => (a.key < b.key ? -1 : 1));

const setup = () => {
  const cluster = createFakeCluster(1, 3);
  cluster.commit((tx) => {
    tx.put("network", makeNetwork("net1"));
    setSpec(tx, "web", makeSpec("web", 3, { networks: [{ target: "net1", aliases: ["www"] }] }));
  });
  cluster.settle();
  const view = (nodeId: string) => nodeView(cluster.state, nodeId);
  const service = (nodeId: string) => {
    const item = view(nodeId).get("service/net1/web")?.item;
    return item?.$case === "service" ? item.value : undefined;
  };
  return { cluster, view, service };
};

describe("node view", () => {
  it("names the node's tasks, their networks, the others' endpoints there and the services", () => {
    const { cluster, view, service } = setup();
    const own = cluster.tasks().find((task) => task.nodeId === "n1")!;
    const others = cluster.tasks().filter((task) => task.nodeId !== "n1");
    expect([...view("n1").keys()].sort()).to.deep.equal(
      [
        `task/${own.id}`,
        "network/net1",
        "service/net1/web",
        ...others.map((task) => `endpoint/net1/${task.id}`),
      ].sort(),
    );
    expect(service("n1")).to.deep.include({ name: "web", aliases: ["www"] });
    expect(service("n1")?.backends.map((backend) => backend.slot)).to.deep.equal([1, 2, 3]);
    const endpoint = view("n1").get(`endpoint/net1/${others[0]!.id}`)?.item;
    expect(endpoint?.value).to.include({
      nodeId: others[0]!.nodeId,
      ipv4: others[0]!.attachments[0]!.ipv4.split("/")[0],
    });
  });

  it("takes a task out of the backends as soon as it is told to leave, and keeps its endpoint until it has ended", () => {
    const { cluster, view, service } = setup();
    const task = cluster.tasks().find((candidate) => candidate.nodeId === "n2")!;
    cluster.commit((tx) => tx.put("task", { ...task, desiredState: TaskState.TASK_SHUTDOWN }));
    expect(service("n1")?.backends.map((backend) => backend.taskId)).not.to.include(task.id);
    expect(view("n1").has(`endpoint/net1/${task.id}`)).to.equal(true);
    const leaving = cluster.state.get("task", task.id)!;
    cluster.commit((tx) =>
      tx.put("task", { ...leaving, status: { ...leaving.status!, state: TaskState.TASK_SHUTDOWN } }),
    );
    expect(view("n1").has(`endpoint/net1/${task.id}`)).to.equal(false);
    expect([...view("n2").keys()]).to.deep.equal([`task/${task.id}`]);
  });

  it("forgets endpoints and backends of a node that is down", () => {
    const { cluster, view, service } = setup();
    cluster.commit((tx) =>
      tx.put("node", { ...tx.get("node", "n2")!, status: { ...makeNode("n2").status!, state: NodeState.NODE_DOWN } }),
    );
    expect(service("n1")?.backends).to.have.length(2);
    expect([...view("n1").keys()].filter((key) => key.startsWith("endpoint/"))).to.have.length(1);
  });

  it("sends nothing to nodes that are not concerned", () => {
    const { cluster } = setup();
    const views = createNodeViews(cluster.state);
    for (const id of ["n1", "n2", "n3"]) views.subscribe(id);
    let told: string[] = [];
    cluster.state.watch((batch) => {
      told = [...views.update(batch).keys()];
    });
    cluster.commit((tx) => tx.put("network", makeNetwork("net2")));
    expect(told).to.deep.equal([]);
    const node = cluster.state.get("node", "n1")!;
    cluster.commit((tx) => tx.put("node", { ...node, description: { ...node.description!, kernel: "6.1" } }));
    expect(told).to.deep.equal([]);
    const task = cluster.tasks().find((candidate) => candidate.nodeId === "n1")!;
    cluster.commit((tx) => tx.put("task", { ...task, status: { ...task.status!, pid: 7 } }));
    expect(told).to.deep.equal(["n1"]);
  });

  describe("of published ports", () => {
    const ports = [80, 81].map((target) =>
      PortConfig.fromPartial({ mode: PortMode.INGRESS, protocol: PortProtocol.TCP, target, published: 8000 + target }),
    );
    /** Two tasks on the ingress network, on n1 and n2; n3 has none. */
    const mesh = () => {
      const cluster = createFakeCluster(1, 3);
      cluster.commit((tx) => {
        const network = makeNetwork("in");
        tx.put("network", { ...network, spec: { ...network.spec!, ingress: true } });
        setSpec(tx, "web", makeSpec("web", 2, { networks: [{ target: "in" }] }));
      });
      cluster.settle();
      const publish = (given: PortConfig[]): void =>
        cluster.commit((tx) => tx.put("service", { ...tx.get("service", "web")!, ports: given }));
      const tasks = (): Task[] => cluster.tasks().sort((a, b) => a.slot - b.slot);
      const idle = ["n1", "n2", "n3"].find((id) => cluster.tasks().every((task) => task.nodeId !== id))!;
      const keys = (): string[] => [...nodeView(cluster.state, idle).keys()].filter((k) => !k.startsWith("service/"));
      const item = () => {
        const found = nodeView(cluster.state, idle).get("publish/web")?.item;
        return found?.$case === "publish" ? found.value : undefined;
      };
      return { cluster, tasks, publish, idle, keys, item };
    };

    it("tells a node without tasks the ports, the backends, the ingress network and who is on it", () => {
      const { tasks, publish, keys, item } = mesh();
      expect(keys()).to.deep.equal([]);
      publish(ports);
      const endpoints = tasks().map((task) => `endpoint/in/${task.id}`);
      expect(keys().sort()).to.deep.equal(["network/in", "publish/web", ...endpoints].sort());
      const backends = tasks().map((task) => ({
        taskId: task.id,
        nodeId: task.nodeId,
        ipv4: task.attachments[0]!.ipv4.split("/")[0],
        ipv6: "",
      }));
      expect(item()).to.deep.equal({ serviceId: "web", name: "web", ports, backends });
      publish([]);
      expect(keys()).to.deep.equal([]);
    });

    it("leaves out ports of mode host, tasks that leave and what is being removed", () => {
      const { cluster, tasks, publish, keys, item } = mesh();
      publish([ports[0]!, { ...ports[1]!, mode: PortMode.HOST }]);
      expect(item()!.ports).to.deep.equal([ports[0]]);
      const [task] = tasks();
      cluster.commit((tx) => tx.put("task", { ...task!, desiredState: TaskState.TASK_SHUTDOWN }));
      expect(item()!.backends.map((backend) => backend.taskId)).to.deep.equal([tasks()[1]!.id]);
      cluster.commit((tx) => tx.put("service", { ...tx.get("service", "web")!, pendingDelete: true }));
      expect(keys()).to.deep.equal([]);
    });

    it("tells where the other nodes are on the ingress network, as long as they are not lost", () => {
      const { cluster, publish, idle } = mesh();
      publish(ports);
      cluster.commit((tx) => {
        const nodes = ["n1", "n2", "n3"].map((nodeId, i) => ({ nodeId, ipv4: `10.0.9.${i + 2}`, ipv6: "" }));
        tx.put("network", { ...tx.get("network", "in")!, nodes });
      });
      const members = (): string[] =>
        [...nodeView(cluster.state, idle).values()].flatMap(({ item }) =>
          item?.$case === "endpoint" && item.value.taskId === "" ? [`${item.value.nodeId} ${item.value.ipv4}`] : [],
        );
      const others = ["n1 10.0.9.2", "n2 10.0.9.3", "n3 10.0.9.4"].filter((m) => !m.startsWith(idle));
      expect(members()).to.deep.equal(others);
      const lost = others[0]!.slice(0, 2);
      cluster.commit((tx) => {
        const node = tx.get("node", lost)!;
        tx.put("node", { ...node, status: { ...node.status!, state: NodeState.NODE_DOWN } });
      });
      expect(members()).to.deep.equal([others[1]]);
    });

    it("tells nothing to a node that is down, and all of it when it is back", () => {
      const { cluster, publish, idle, keys } = mesh();
      publish(ports);
      const all = keys();
      const become = (state: NodeState): void =>
        cluster.commit((tx) =>
          tx.put("node", { ...tx.get("node", idle)!, status: { ...makeNode(idle).status!, state } }),
        );
      become(NodeState.NODE_DOWN);
      expect(keys()).to.deep.equal([]);
      become(NodeState.NODE_READY);
      expect(keys()).to.deep.equal(all);
    });
  });

  it("is the same step by step and from scratch, over random histories", function () {
    this.timeout(60_000);
    for (let seed = 100; seed < 130; seed++) {
      let views: NodeViews | undefined;
      const held = new Map<string, Map<string, Assignment>>();
      const nodeIds = Array.from({ length: WALK_NODES }, (_, i) => `n${i + 1}`);
      const { cluster, act } = createWalk(seed, (batch, { state, random }) => {
        if (views === undefined) return;
        for (const [nodeId, changes] of views.update(batch)) {
          const keys = [...changes.put.map((item) => item.key), ...changes.remove];
          expect(new Set(keys).size, "each key once").to.equal(keys.length);
          applyChanges(held.get(nodeId)!, changes);
        }
        for (const [nodeId, view] of held)
          expect(sorted(view), `seed ${seed} index ${state.index} ${nodeId}`).to.deep.equal(
            sorted(nodeView(state, nodeId)),
          );
        const nodeId = nodeIds[random.int(WALK_NODES)]!;
        if (random.int(20) !== 0) return;
        if (held.delete(nodeId)) views.unsubscribe(nodeId);
        else held.set(nodeId, views.subscribe(nodeId));
      });
      views = createNodeViews(cluster.state);
      for (const nodeId of nodeIds) held.set(nodeId, views.subscribe(nodeId));
      for (let i = 0; i < 400; i++) act();
      const chunks = [...cluster.state.snapshot()];
      act();
      cluster.state.restore(cluster.state.index + 1, chunks);
    }
  });
});
