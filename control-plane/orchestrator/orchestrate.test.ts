import { expect } from "chai";
import {
  FailureAction,
  NodeAvailability,
  NodeState,
  PortMode,
  PortProtocol,
  RestartCondition,
  type Task,
  TaskState,
  UpdateOrder,
  UpdateState,
} from "#proto/gen/types.ts";
import { createFakeCluster, type FakeCluster, makeSpec, setSpec } from "./fake-cluster.ts";
import { hasEnded, isLive, isRunning, observed } from "./task-life.ts";

const running = (cluster: FakeCluster): Task[] => cluster.tasks().filter(isRunning);
const slots = (tasks: readonly Task[]): number[] => tasks.map((task) => task.slot).sort((a, b) => a - b);
const deploy = (cluster: FakeCluster, ...spec: Parameters<typeof makeSpec>): void =>
  cluster.commit((tx) => setSpec(tx, "web", makeSpec(...spec)));
const setNode = (
  cluster: FakeCluster,
  id: string,
  state: NodeState,
  availability: NodeAvailability = NodeAvailability.ACTIVE,
): void =>
  cluster.commit((tx) => {
    const node = tx.get("node", id)!;
    const status = { ...node.status!, state, since: cluster.now };
    tx.put("node", { ...node, status, spec: { ...node.spec!, availability } });
  });
const updateState = (cluster: FakeCluster): UpdateState | undefined =>
  cluster.state.get("service", "web")?.updateStatus?.state;
const image = (name: string, extra = {}) => ({ container: { image: "localhost/web:1", env: { name } }, ...extra });
const nodeOf = (task: Task): string => task.nodeId;
const version = (task: Task): string | undefined => task.spec?.container?.env.name;
/** Until an agent made so many tasks of this version run, or nothing moves any more. */
const step = (cluster: FakeCluster): boolean => {
  const before = cluster.state.index;
  cluster.control();
  return cluster.agentStep() || cluster.state.index !== before;
};

describe("orchestrator", () => {
  it("makes, addresses and places all tasks of a service in one command", () => {
    const cluster = createFakeCluster(1, 3);
    deploy(cluster, "web", 300);
    const before = cluster.state.index;
    cluster.control();
    expect(cluster.state.index).to.equal(before + 1);
    const tasks = cluster.tasks();
    expect(tasks).to.have.length(300);
    expect(tasks.every((task) => observed(task) === TaskState.TASK_ASSIGNED && isLive(task))).to.equal(true);
    expect(tasks[0]!.name).to.equal(`web.${tasks[0]!.slot}`);
    const perNode = [...Map.groupBy(tasks, (task) => task.nodeId).values()].map((list) => list.length);
    expect(perNode).to.deep.equal([100, 100, 100]);
  });

  it("scales up into the lowest free slots and down from the fullest nodes, leaving nothing behind", () => {
    const cluster = createFakeCluster(2, 3);
    deploy(cluster, "web", 3);
    cluster.settle();
    deploy(cluster, "web", 7);
    cluster.settle();
    expect(slots(running(cluster))).to.deep.equal([1, 2, 3, 4, 5, 6, 7]);
    deploy(cluster, "web", 3);
    cluster.settle();
    expect(cluster.tasks()).to.have.length(3);
    expect(new Set(cluster.tasks().map((task) => task.nodeId)).size).to.equal(3);
  });

  it("deletes a service once its tasks have left", () => {
    const cluster = createFakeCluster(3, 2);
    deploy(cluster, "web", 2);
    cluster.settle();
    cluster.commit((tx) => tx.put("service", { ...tx.get("service", "web")!, pendingDelete: true }));
    cluster.control();
    expect(cluster.state.get("service", "web")).not.to.equal(undefined);
    expect(cluster.tasks().every((task) => task.desiredState === TaskState.TASK_REMOVE)).to.equal(true);
    cluster.settle();
    expect(cluster.state.get("service", "web")).to.equal(undefined);
    expect(cluster.state.count("task")).to.equal(0);
  });

  describe("restart", () => {
    it("replaces a failed task after the delay, in the same slot, and keeps five ended ones", () => {
      const cluster = createFakeCluster(4, 1);
      deploy(cluster, "web", 1, { restart: { condition: RestartCondition.RESTART_ANY, delayMs: 1000 } });
      cluster.settle();
      cluster.fate = () => "fail";
      expect(cluster.agentStep()).to.equal(true);
      expect(cluster.control().wakeAt).to.equal(cluster.now + 1000);
      const [fresh] = cluster.tasks().filter(isLive);
      expect(fresh).to.include({ slot: 1, desiredState: TaskState.TASK_READY, startAfter: cluster.now + 1000 });
      cluster.settle(500);
      expect(observed(cluster.state.get("task", fresh!.id)!)).to.equal(TaskState.TASK_READY);
      cluster.settle(20_000);
      expect(cluster.tasks().filter(hasEnded)).to.have.length(5);
    });

    it("keeps to the delay when a task can't even be prepared", () => {
      const cluster = createFakeCluster(25, 1);
      cluster.fate = () => "reject";
      deploy(cluster, "web", 1, { restart: { condition: RestartCondition.RESTART_ANY, delayMs: 1000 } });
      cluster.settle(2500);
      expect(cluster.tasks().filter(hasEnded)).to.have.length(3);
      cluster.fate = () => "run";
      cluster.settle(1000);
      expect(running(cluster)).to.have.length(1);
    });

    it("gives up after max_attempts, until an update", () => {
      const cluster = createFakeCluster(5, 1);
      cluster.fate = (task) => (version(task) === "good" ? "run" : "fail");
      const restart = { condition: RestartCondition.RESTART_ON_FAILURE, delayMs: 10, maxAttempts: 7 };
      deploy(cluster, "web", 1, image("bad", { restart }));
      cluster.settle(60_000);
      expect(cluster.tasks().filter(hasEnded)).to.have.length(8);
      expect(cluster.tasks().filter(isLive)).to.have.length(0);
      deploy(cluster, "web", 1, image("good", { restart }));
      cluster.settle(60_000);
      expect(running(cluster).map(version)).to.deep.equal(["good"]);
    });

    it("counts attempts only within the window", () => {
      const cluster = createFakeCluster(5, 1);
      cluster.fate = () => "fail";
      const restart = { condition: RestartCondition.RESTART_ANY, delayMs: 1000, maxAttempts: 3, windowMs: 2500 };
      deploy(cluster, "web", 1, { restart });
      cluster.settle(60_000);
      expect(cluster.tasks().filter(isLive).length + cluster.tasks().filter(hasEnded).length).to.be.greaterThan(3);
      expect(cluster.tasks().some((task) => task.desiredState === TaskState.TASK_COMPLETE)).to.equal(false);
    });

    it("leaves what completed alone with on-failure and none", () => {
      for (const condition of [RestartCondition.RESTART_ON_FAILURE, RestartCondition.RESTART_NONE]) {
        const cluster = createFakeCluster(6, 2);
        cluster.fate = () => "complete";
        deploy(cluster, "web", 2, { restart: { condition } });
        cluster.settle(60_000);
        expect(cluster.tasks().map(observed)).to.deep.equal([TaskState.TASK_COMPLETE, TaskState.TASK_COMPLETE]);
        deploy(cluster, "web", 1, { restart: { condition } });
        cluster.settle(60_000);
        expect(cluster.tasks()).to.have.length(1);
      }
    });
  });

  describe("nodes", () => {
    it("moves the tasks of a node that is down and keeps the old ones, with their addresses, for a day", () => {
      const cluster = createFakeCluster(7, 3);
      deploy(cluster, "web", 3);
      cluster.settle();
      setNode(cluster, "n1", NodeState.NODE_DOWN);
      cluster.settle();
      expect(slots(running(cluster).filter((task) => task.nodeId !== "n1"))).to.deep.equal([1, 2, 3]);
      const [old] = cluster.tasks().filter((task) => task.nodeId === "n1");
      expect(old).to.include({ desiredState: TaskState.TASK_SHUTDOWN });
      expect(observed(old!)).to.equal(TaskState.TASK_RUNNING);
      cluster.settle(24 * 3_600_000);
      expect(observed(cluster.state.get("task", old!.id)!)).to.equal(TaskState.TASK_ORPHANED);
    });

    it("lets the old task end when the node comes back", () => {
      const cluster = createFakeCluster(8, 2);
      deploy(cluster, "web", 2);
      cluster.settle();
      setNode(cluster, "n1", NodeState.NODE_DOWN);
      cluster.settle();
      setNode(cluster, "n1", NodeState.NODE_READY);
      cluster.settle();
      expect(running(cluster)).to.have.length(2);
      expect(
        cluster
          .tasks()
          .filter((task) => task.nodeId === "n1")
          .map(observed),
      ).to.deep.equal([TaskState.TASK_SHUTDOWN]);
    });

    it("starts nothing twice with the condition none", () => {
      const cluster = createFakeCluster(19, 2);
      deploy(cluster, "web", 2, { restart: { condition: RestartCondition.RESTART_NONE } });
      cluster.settle();
      const before = cluster.tasks();
      setNode(cluster, "n1", NodeState.NODE_DOWN);
      cluster.settle(60_000);
      expect(cluster.tasks()).to.deep.equal(before);
      setNode(cluster, "n1", NodeState.NODE_READY);
      setNode(cluster, "n2", NodeState.NODE_READY, NodeAvailability.DRAIN);
      cluster.settle(60_000);
      expect(cluster.tasks()).to.have.length(2);
      expect(running(cluster).map((task) => task.nodeId)).to.deep.equal(["n1"]);
    });

    it("orphans the tasks of a removed node at once", () => {
      const cluster = createFakeCluster(9, 2);
      deploy(cluster, "web", 2);
      cluster.settle();
      cluster.commit((tx) => tx.delete("node", "n1"));
      cluster.settle();
      expect(slots(running(cluster))).to.deep.equal([1, 2]);
      expect(running(cluster).every((task) => task.nodeId === "n2")).to.equal(true);
    });

    it("drains a node, starting each replacement only when the old task has ended, and leaves a paused node alone", () => {
      const cluster = createFakeCluster(10, 2);
      deploy(cluster, "web", 4);
      cluster.settle();
      setNode(cluster, "n2", NodeState.NODE_READY, NodeAvailability.PAUSE);
      cluster.settle();
      expect(running(cluster).filter((task) => task.nodeId === "n2")).to.have.length(2);
      setNode(cluster, "n2", NodeState.NODE_READY, NodeAvailability.DRAIN);
      cluster.settle();
      expect(slots(running(cluster))).to.deep.equal([1, 2, 3, 4]);
      expect(running(cluster).every((task) => task.nodeId === "n1")).to.equal(true);
    });

    it("drains a node at the pace of the service's updates", () => {
      const cluster = createFakeCluster(18, 2);
      deploy(cluster, "web", 8, {}, { update: { parallelism: 2 } });
      cluster.settle();
      setNode(cluster, "n1", NodeState.NODE_READY, NodeAvailability.DRAIN);
      let fewest = 8;
      while (step(cluster)) fewest = Math.min(fewest, running(cluster).length);
      expect(fewest).to.equal(6);
      expect(running(cluster).map((task) => task.nodeId)).to.deep.equal(Array(8).fill("n2"));
    });

    describe("drained, with start-first", () => {
      const DRAIN = NodeAvailability.DRAIN;
      const startFirst = { update: { parallelism: 2, order: UpdateOrder.START_FIRST } };
      const bySlot = (tasks: readonly Task[]) => [...Map.groupBy(tasks, (task) => task.slot).values()];

      it("stops a task only when its replacement runs, two slots at a time", () => {
        const cluster = createFakeCluster(20, 3);
        deploy(cluster, "web", 9, {}, startFirst);
        cluster.settle();
        setNode(cluster, "n1", NodeState.NODE_READY, DRAIN);
        while (step(cluster)) {
          expect(slots(bySlot(running(cluster)).map(([task]) => task!))).to.deep.equal([1, 2, 3, 4, 5, 6, 7, 8, 9]);
          expect(bySlot(cluster.tasks().filter(isLive)).filter((members) => members.length > 1).length).to.be.at.most(
            2,
          );
        }
        expect(cluster.tasks().filter(isLive)).to.have.length(9);
        expect(running(cluster).map(nodeOf)).not.to.include("n1");
      });

      it("moves on when the replacement's node is drained too", () => {
        const cluster = createFakeCluster(21, 3);
        deploy(cluster, "web", 1, {}, startFirst);
        cluster.settle();
        const [old] = running(cluster);
        setNode(cluster, old!.nodeId, NodeState.NODE_READY, DRAIN);
        cluster.control();
        const [heir] = cluster.tasks().filter((task) => task.id !== old!.id);
        setNode(cluster, heir!.nodeId, NodeState.NODE_READY, DRAIN);
        while (step(cluster)) expect(running(cluster)).not.to.have.length(0);
        expect(cluster.tasks().filter(isLive)).to.have.length(1);
        expect([old!.nodeId, heir!.nodeId]).not.to.include(running(cluster)[0]!.nodeId);
      });

      it("leaves the task alone as long as no other node can take it", () => {
        const cluster = createFakeCluster(22, 2);
        deploy(cluster, "web", 2, {}, startFirst);
        cluster.settle();
        for (const id of ["n1", "n2"]) setNode(cluster, id, NodeState.NODE_READY, DRAIN);
        cluster.settle();
        expect(slots(running(cluster))).to.deep.equal([1, 2]);
        setNode(cluster, "n2", NodeState.NODE_READY);
        cluster.settle();
        expect(cluster.tasks().filter(isLive).map(nodeOf)).to.deep.equal(["n2", "n2"]);
      });

      it("tries a replacement that fails again by the restart policy, and leaves the old task when that gives up", () => {
        const cluster = createFakeCluster(23, 2);
        const restart = { condition: RestartCondition.RESTART_ANY, delayMs: 1000, maxAttempts: 3 };
        deploy(cluster, "web", 1, { restart }, startFirst);
        cluster.settle();
        const [old] = running(cluster);
        cluster.fate = (task) => (task.nodeId === old!.nodeId ? "run" : "reject");
        setNode(cluster, old!.nodeId, NodeState.NODE_READY, DRAIN);
        cluster.settle(1500);
        expect(cluster.tasks().filter(hasEnded)).to.have.length(2);
        cluster.settle(60_000);
        expect(cluster.tasks().filter(hasEnded)).to.have.length(4);
        expect(running(cluster).map((task) => task.id)).to.deep.equal([old!.id]);
        cluster.fate = () => "run";
        deploy(cluster, "web", 1, image("2", { restart }), startFirst);
        cluster.settle(60_000);
        expect(cluster.tasks().filter(isLive).map(version)).to.deep.equal(["2"]);
        expect(running(cluster)[0]!.nodeId).not.to.equal(old!.nodeId);
      });

      it("waits for the new task of an update that is under way", () => {
        const cluster = createFakeCluster(24, 2);
        deploy(cluster, "web", 4, image("1"), startFirst);
        cluster.settle();
        deploy(cluster, "web", 4, image("2"), startFirst);
        cluster.control();
        setNode(cluster, "n1", NodeState.NODE_READY, DRAIN);
        while (step(cluster)) expect(bySlot(running(cluster))).to.have.length(4);
        cluster.settle(60_000);
        expect(cluster.tasks().filter(isLive).map(version)).to.deep.equal(Array(4).fill("2"));
        expect(running(cluster).map(nodeOf)).to.deep.equal(Array(4).fill("n2"));
      });
    });

    it("moves tasks whose constraints a changed label breaks", () => {
      const cluster = createFakeCluster(11, 2);
      const label = (id: string, rack: string): void =>
        cluster.commit((tx) => {
          const node = tx.get("node", id)!;
          tx.put("node", { ...node, spec: { ...node.spec!, annotations: { name: "", labels: { rack } } } });
        });
      label("n1", "a");
      deploy(cluster, "web", 2, { placement: { constraints: ["node.labels.rack==a"] } });
      cluster.settle();
      expect(running(cluster).map((task) => task.nodeId)).to.deep.equal(["n1", "n1"]);
      label("n2", "a");
      label("n1", "b");
      cluster.control({ services: [], nodes: ["n1"] });
      cluster.settle();
      expect(running(cluster).map((task) => task.nodeId)).to.deep.equal(["n2", "n2"]);
    });
  });

  describe("update", () => {
    for (const order of [UpdateOrder.STOP_FIRST, UpdateOrder.START_FIRST])
      it(`moves ${order === UpdateOrder.STOP_FIRST ? "stop-first" : "start-first"}, two slots at a time`, () => {
        const cluster = createFakeCluster(12, 3);
        const rest = { update: { parallelism: 2, order, monitorMs: 5000 } };
        deploy(cluster, "web", 6, image("1"), rest);
        cluster.settle();
        deploy(cluster, "web", 6, image("2"), rest);
        let fewest = 6;
        while (step(cluster)) {
          fewest = Math.min(fewest, running(cluster).length);
          for (const members of Map.groupBy(running(cluster), (task) => task.slot).values())
            expect(members.length).to.be.at.most(order === UpdateOrder.STOP_FIRST ? 1 : 2);
        }
        expect(fewest).to.equal(order === UpdateOrder.STOP_FIRST ? 4 : 6);
        expect(updateState(cluster)).to.equal(UpdateState.UPDATE_UPDATING);
        cluster.settle(5000);
        expect(updateState(cluster)).to.equal(UpdateState.UPDATE_COMPLETED);
        expect(running(cluster).map(version)).to.deep.equal(Array(6).fill("2"));
      });

    it("waits for the delay between slots", () => {
      const cluster = createFakeCluster(13, 1);
      const rest = { update: { parallelism: 1, delayMs: 10_000, order: UpdateOrder.STOP_FIRST } };
      deploy(cluster, "web", 3, image("1"), rest);
      cluster.settle();
      deploy(cluster, "web", 3, image("2"), rest);
      cluster.settle(9_000);
      expect(running(cluster).filter((task) => version(task) === "2")).to.have.length(1);
      cluster.settle(10_000);
      expect(running(cluster).filter((task) => version(task) === "2")).to.have.length(2);
    });

    it("forced by the counter, makes every task new although nothing else differs", () => {
      const cluster = createFakeCluster(14, 2);
      deploy(cluster, "web", 2, image("1"));
      cluster.settle();
      const before = new Set(running(cluster).map((task) => task.id));
      deploy(cluster, "web", 2, image("1", { forceUpdate: 1 }));
      cluster.settle(60_000);
      expect(running(cluster)).to.have.length(2);
      expect(running(cluster).some((task) => before.has(task.id))).to.equal(false);
    });

    it("makes every task new when its node is to publish a port for it, though nothing else of it changes", () => {
      const cluster = createFakeCluster(14, 2);
      const port = { protocol: PortProtocol.TCP, target: 80, published: 8081, mode: PortMode.HOST };
      deploy(cluster, "web", 2);
      cluster.settle();
      const before = new Set(running(cluster).map((task) => task.id));
      deploy(cluster, "web", 2, {}, { ports: [port] });
      cluster.settle(60_000);
      expect(running(cluster)).to.have.length(2);
      expect(running(cluster).some((task) => before.has(task.id))).to.equal(false);
    });

    it("does not touch tasks when only the number of replicas or a label changes", () => {
      const cluster = createFakeCluster(15, 2);
      deploy(cluster, "web", 2, image("1"));
      cluster.settle();
      const before = running(cluster)
        .map((task) => task.id)
        .sort();
      deploy(cluster, "web", 2, image("1"), { annotations: { name: "web", labels: { a: "b" } } });
      cluster.settle(60_000);
      expect(
        running(cluster)
          .map((task) => task.id)
          .sort(),
      ).to.deep.equal(before);
      expect(updateState(cluster)).to.equal(undefined);
    });

    const failing = (
      failureAction: FailureAction,
      maxFailureRatio = 0,
      networks: { readonly target: string }[] = [],
    ): FakeCluster => {
      const cluster = createFakeCluster(16, 2);
      cluster.fate = (task) => (version(task) === "bad" ? "fail" : "run");
      const restart = { condition: RestartCondition.RESTART_ANY, delayMs: 1000 };
      const rest = { update: { parallelism: 1, delayMs: 1000, failureAction, maxFailureRatio, monitorMs: 5000 } };
      deploy(cluster, "web", 4, image("good", { restart, networks }), rest);
      cluster.settle(60_000);
      deploy(cluster, "web", 4, image("bad", { restart }), rest);
      cluster.settle(60_000);
      return cluster;
    };

    it("pauses on failure and leaves the other slots alone", () => {
      const cluster = failing(FailureAction.FAILURE_PAUSE);
      expect(updateState(cluster)).to.equal(UpdateState.UPDATE_PAUSED);
      expect(running(cluster).map(version)).to.deep.equal(["good", "good", "good"]);
      expect(cluster.state.get("service", "web")?.updateStatus?.message).to.equal("update paused: 1 of 4 tasks failed");
    });

    it("tolerates failures up to the ratio", () => {
      const cluster = failing(FailureAction.FAILURE_PAUSE, 0.25);
      expect(updateState(cluster)).to.equal(UpdateState.UPDATE_PAUSED);
      expect(running(cluster).map(version)).to.deep.equal(["good", "good"]);
    });

    it("goes on regardless when told so", () => {
      const cluster = failing(FailureAction.FAILURE_CONTINUE);
      expect(updateState(cluster)).to.equal(UpdateState.UPDATE_COMPLETED);
      expect(cluster.tasks().filter(isLive).map(version)).to.deep.equal(Array(4).fill("bad"));
    });

    it("rolls back, without touching the tasks that were never updated", () => {
      const cluster = failing(FailureAction.FAILURE_ROLLBACK);
      expect(updateState(cluster)).to.equal(UpdateState.UPDATE_ROLLBACK_COMPLETED);
      expect(running(cluster).map(version)).to.deep.equal(Array(4).fill("good"));
      expect(
        running(cluster).filter((task) => task.specVersion !== cluster.state.get("service", "web")?.specVersion),
      ).to.have.length(3);
    });

    it("pauses where the way back leads to a network that was removed", () => {
      const cluster = failing(FailureAction.FAILURE_ROLLBACK, 0, [{ target: "gone" }]);
      expect(updateState(cluster)).to.equal(UpdateState.UPDATE_PAUSED);
    });

    it("does not hold failures of an earlier try against a new one", () => {
      const cluster = failing(FailureAction.FAILURE_PAUSE);
      cluster.fate = () => "run";
      cluster.commit((tx) => tx.put("service", { ...tx.get("service", "web")!, updateStatus: undefined }));
      cluster.settle(60_000);
      expect(updateState(cluster)).to.equal(UpdateState.UPDATE_COMPLETED);
      expect(running(cluster).map(version)).to.deep.equal(Array(4).fill("bad"));
    });

    it("with start-first a failing update never stops the old tasks", () => {
      const cluster = createFakeCluster(17, 2);
      cluster.fate = (task) => (version(task) === "bad" ? "reject" : "run");
      const rest = { update: { parallelism: 1, order: UpdateOrder.START_FIRST, monitorMs: 5000 } };
      deploy(cluster, "web", 3, image("good"), rest);
      cluster.settle(60_000);
      deploy(cluster, "web", 3, image("bad"), rest);
      while (step(cluster)) expect(running(cluster).filter((task) => version(task) === "good")).to.have.length(3);
      cluster.settle(60_000);
      expect(updateState(cluster)).to.equal(UpdateState.UPDATE_PAUSED);
      expect(cluster.tasks().filter(isLive).map(version)).to.deep.equal(["good", "good", "good"]);
    });

    it("restarts a task of a paused update with the spec that it had", () => {
      const cluster = failing(FailureAction.FAILURE_PAUSE);
      setNode(cluster, "n1", NodeState.NODE_DOWN);
      cluster.settle(60_000);
      expect(
        running(cluster)
          .filter((task) => task.nodeId === "n2")
          .map(version),
      ).to.deep.equal(["good", "good", "good"]);
    });
  });
});
