import { expect } from "chai";
import type { StateBatch } from "#control-plane/state/types.ts";
import { TaskState, UpdateState } from "#proto/gen/types.ts";
import type { FakeCluster } from "./fake-cluster.ts";
import { createWalk } from "./random-walk.ts";
import { hasEnded, isLeaving, isLost, isRunning } from "./task-life.ts";

const SEEDS = 60;
const STEPS = 400;

/** Stop-first services have one task per slot that may run; start-first ones two, while an update is under way. */
const checkSlots = (cluster: FakeCluster): void => {
  for (const [id, most] of [
    ["web", 1],
    ["db", 2],
  ] as const) {
    const wanted = cluster.tasks(id).filter((task) => task.desiredState === TaskState.TASK_RUNNING && !hasEnded(task));
    for (const members of Map.groupBy(wanted, (task) => task.slot).values())
      expect(members.length, `${id}.${members[0]?.slot}`).to.be.at.most(most);
  }
};

/** Whoever may start in this batch finds its slot left by all that were told to leave, unless their node is lost. */
const checkStarts = (batch: StateBatch, cluster: FakeCluster): void => {
  for (const event of batch.events) {
    if (event.table !== "task" || event.action === "remove") continue;
    const { id, slot, serviceId, desiredState } = event.object;
    if (desiredState !== TaskState.TASK_RUNNING || event.previous?.desiredState === desiredState) continue;
    const leaving = cluster.tasks(serviceId).filter((task) => task.slot === slot && isLeaving(task));
    const known = leaving.filter((task) => !isLost(cluster.state.get("node", task.nodeId)));
    expect(known, `${id} starts before ${known[0]?.id} has ended`).to.deep.equal([]);
  }
};

/** Of a start-first service a running task leaves its slot only when another runs there. Scaling down says REMOVE. */
const checkLeaves = (batch: StateBatch, cluster: FakeCluster): void => {
  for (const event of batch.events) {
    if (event.table !== "task" || event.action !== "update") continue;
    const { id, slot, serviceId, nodeId, desiredState } = event.object;
    if (serviceId !== "db" || desiredState !== TaskState.TASK_SHUTDOWN || !event.previous || !isRunning(event.previous))
      continue;
    if (hasEnded(event.object) || isLost(cluster.state.get("node", nodeId))) continue;
    const others = cluster.tasks(serviceId).filter((task) => task.slot === slot && isRunning(task));
    expect(others, `${id} leaves and nothing runs in its slot`).not.to.have.length(0);
  }
};

const checkGoal = (cluster: FakeCluster): void => {
  for (const id of ["web", "db"]) {
    const service = cluster.state.get("service", id);
    const running = cluster.tasks(id).filter(isRunning);
    expect(service?.pendingDelete ?? false).to.equal(false);
    expect(running.length, id).to.equal(service?.spec?.replicas ?? 0);
    expect(new Set(running.map((task) => task.slot)).size).to.equal(running.length);
    expect(cluster.tasks(id).filter((task) => !hasEnded(task)).length).to.equal(running.length);
    const status = service?.updateStatus?.state ?? UpdateState.UPDATE_STATE_UNSPECIFIED;
    expect([UpdateState.UPDATE_UPDATING, UpdateState.UPDATE_ROLLBACK_STARTED]).not.to.include(status);
  }
};

describe("orchestrator, random walks", function () {
  this.timeout(60_000);
  it(`reaches the goal from anywhere and never lets a slot run twice (${SEEDS} seeds)`, () => {
    for (let seed = 1; seed <= SEEDS; seed++) {
      try {
        const { cluster, act, calm } = createWalk(seed, (batch, walked) => {
          checkSlots(walked);
          checkStarts(batch, walked);
          checkLeaves(batch, walked);
        });
        for (let i = 0; i < STEPS; i++) act();
        calm();
        checkGoal(cluster);
        const before = cluster.state.index;
        cluster.control("all");
        expect(cluster.state.index, "a pass over everything finds nothing that the dirty ones missed").to.equal(before);
      } catch (error) {
        throw new Error(`seed ${seed}`, { cause: error });
      }
    }
  });
});
