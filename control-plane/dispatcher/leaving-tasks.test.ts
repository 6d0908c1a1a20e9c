import { expect } from "chai";
import { type LeavingTasks, trackLeavingTasks } from "#control-plane/dispatcher/leaving-tasks.ts";
import { createNodeViews } from "#control-plane/node-view/node-views.ts";
import { createFakeCluster, makeNetwork, makeSpec, setSpec } from "#control-plane/orchestrator/fake-cluster.ts";
import { NodeAvailability, NodeSpec, NodeState, type Task, TaskState } from "#proto/gen/types.ts";

const NODES = ["n1", "n2", "n3", "n4"];

/** "web" has a task on n1, n2 and n3; nobody on n4 can reach it. As the dispatcher does, without messages. */
const setup = () => {
  const cluster = createFakeCluster(1, 4);
  cluster.commit((tx) => {
    tx.put("node", { ...tx.get("node", "n4")!, spec: NodeSpec.fromPartial({ availability: NodeAvailability.DRAIN }) });
    tx.put("network", makeNetwork("net1"));
    setSpec(tx, "web", makeSpec("web", 3, { networks: [{ target: "net1" }] }));
  });
  cluster.settle();
  const views = createNodeViews(cluster.state);
  const sequences = new Map<string, number>();
  const drained = new Map<string, string>();
  let leaving: LeavingTasks | undefined;
  const tell = (nodeId: string, { put, remove }: { put: { key: string }[]; remove: string[] }): void => {
    for (const { key } of put) drained.set(key, nodeId);
    for (const key of remove) drained.delete(key);
  };
  const lead = (): void => {
    leaving = trackLeavingTasks({ state: cluster.state, sequenceOf: (nodeId) => sequences.get(nodeId), tell });
  };
  const open = (nodeId: string): string[] => {
    sequences.set(nodeId, 1);
    views.subscribe(nodeId);
    return leaving!.opened(nodeId).map((item) => item.key);
  };
  const lose = (nodeId: string): void => {
    sequences.delete(nodeId);
    views.unsubscribe(nodeId);
    leaving!.lost(nodeId);
  };
  cluster.state.watch((batch) => {
    const told = views.update(batch);
    leaving?.update(batch.events, told);
    for (const nodeId of told.keys()) if (sequences.has(nodeId)) sequences.set(nodeId, sequences.get(nodeId)! + 1);
  });
  lead();
  for (const nodeId of NODES) open(nodeId);
  const on = (nodeId: string): Task => cluster.tasks().find((task) => task.nodeId === nodeId)!;
  const end = (...tasks: Task[]): void =>
    cluster.commit((tx) => {
      for (const task of tasks) tx.put("task", { ...tx.get("task", task.id)!, desiredState: TaskState.TASK_SHUTDOWN });
    });
  const applied = (nodeId: string, sequence = sequences.get(nodeId)!): void => leaving!.applied(nodeId, sequence);
  return { cluster, drained, lead, open, lose, on, end, applied, giveUp: (id: string) => leaving!.giveUp(id) };
};

const names = (drained: ReadonlyMap<string, string>): string[] => [...drained.keys()].sort();

describe("leaving tasks", () => {
  it("are drained once every node that had them has taken them out", () => {
    const { drained, on, end, applied } = setup();
    const task = on("n1");
    end(task);
    applied("n1");
    applied("n2", 1);
    applied("n3");
    expect(names(drained)).to.deep.equal([]);
    applied("n2");
    expect([...drained]).to.deep.equal([[`drained/${task.id}`, "n1"]]);
  });

  it("are told one by one, and forgotten when they have ended", () => {
    const { cluster, drained, on, end, applied } = setup();
    const [first, second] = [on("n1"), on("n2")];
    end(first);
    end(second);
    for (const nodeId of ["n1", "n2", "n3"]) applied(nodeId, 2);
    expect(names(drained)).to.deep.equal([`drained/${first.id}`]);
    for (const nodeId of ["n1", "n2", "n3"]) applied(nodeId);
    expect(drained.size).to.equal(2);
    const status = { ...first.status!, state: TaskState.TASK_SHUTDOWN };
    cluster.commit((tx) => tx.put("task", { ...tx.get("task", first.id)!, status }));
    expect(names(drained)).to.deep.equal([`drained/${second.id}`]);
  });

  it("wait for a node without a session until it has applied its first view", () => {
    const { drained, lose, open, on, end, applied } = setup();
    lose("n3");
    lose("n4");
    end(on("n1"));
    applied("n1");
    applied("n2");
    expect(drained.size).to.equal(0);
    open("n3");
    expect(drained.size).to.equal(0);
    applied("n3", 1);
    expect(drained.size).to.equal(1);
  });

  it("wait for a node whose session ends meanwhile, until it is given up", () => {
    const { drained, lose, on, end, applied, giveUp } = setup();
    end(on("n1"));
    applied("n1");
    applied("n2");
    lose("n3");
    expect(drained.size).to.equal(0);
    giveUp("n3");
    expect(drained.size).to.equal(1);
  });

  it("don't wait for a node that is down", () => {
    const { cluster, drained, lose, on, end, applied } = setup();
    lose("n3");
    cluster.commit((tx) => {
      const node = tx.get("node", "n3")!;
      tx.put("node", { ...node, status: { ...node.status!, state: NodeState.NODE_DOWN } });
    });
    end(on("n1"));
    applied("n1");
    applied("n2");
    expect(drained.size).to.equal(1);
  });

  it("are drained by the next leader when all that may have them have applied their first views", () => {
    const { drained, lead, lose, open, on, end, applied } = setup();
    const task = on("n2");
    end(task);
    for (const nodeId of NODES) lose(nodeId);
    lead();
    for (const nodeId of NODES) expect(open(nodeId)).to.deep.equal([]);
    for (const nodeId of ["n1", "n2"]) applied(nodeId, 1);
    expect(drained.size).to.equal(0);
    applied("n3", 1);
    expect([...drained]).to.deep.equal([[`drained/${task.id}`, "n2"]]);
    lose("n2");
    expect(open("n2")).to.deep.equal([`drained/${task.id}`]);
  });

  it("that never ran are drained at once; those of a removed service are not spoken of", () => {
    const { cluster, drained, on, end } = setup();
    cluster.commit((tx) => setSpec(tx, "web", makeSpec("web", 4, { networks: [{ target: "net1" }] })));
    while (!cluster.tasks().some((task) => task.slot === 4 && task.nodeId !== "")) cluster.control();
    const fresh = cluster.tasks().find((task) => task.slot === 4)!;
    end(fresh);
    expect(names(drained)).to.deep.equal([`drained/${fresh.id}`]);
    cluster.commit((tx) => tx.put("service", { ...tx.get("service", "web")!, pendingDelete: true }));
    end(on("n1"));
    expect(drained.size).to.equal(1);
  });
});
