import { expect } from "chai";
import { Service, type StoreObject, Task, TaskState, UpdateState } from "#proto/gen/types.ts";
import { progressDisplay, progressLines } from "#tsctl/output/progress.ts";
import { applyEvent, progressOf, type Rollout } from "#tsctl/service/rollout.ts";

const service = (replicas: number, state: UpdateState = 0, version = 1): Service =>
  Service.fromPartial({
    id: "s",
    meta: { version },
    spec: { replicas, annotations: { name: "web" } },
    specVersion: 10,
    updateStatus: state ? { state, startedAt: 5, message: "because" } : undefined,
  });
let clock = 0;
const task = (slot: number, state: TaskState, more: Parameters<typeof Task.fromPartial>[0] = {}): Task =>
  Task.fromPartial({
    id: `t${slot}`,
    serviceId: "s",
    slot,
    specVersion: 10,
    desiredState: TaskState.TASK_RUNNING,
    meta: { version: ++clock, createdAt: clock },
    status: { state },
    ...more,
  });
const event = (action: string, object: StoreObject["object"]) => ({ action, object: { object }, previous: undefined });
const taskEvent = (t: Task, action = "update") => event(action, { $case: "task", value: t });
const start = (replicas: number, tasks: Task[] = []): Rollout => ({
  service: service(replicas),
  tasks: new Map(tasks.map((t) => [t.id, t])),
  removed: false,
});
const { TASK_RUNNING, TASK_PREPARING, TASK_FAILED, TASK_SHUTDOWN, TASK_PENDING } = TaskState;

describe("progress of a service", () => {
  it("is drawn from a list of events", () => {
    let rollout = start(2);
    const out: string[] = [];
    const display = progressDisplay({
      isTTY: false,
      columns: 80,
      write: (text) => out.push(String(text)),
      drained: async () => {},
    });
    const script = [
      task(1, TASK_PENDING),
      task(2, TASK_PENDING, { status: { state: TASK_PENDING, error: "no node has 64 CPUs" } }),
      task(1, TASK_PREPARING),
      task(2, TASK_PREPARING),
      task(1, TASK_FAILED, { status: { state: TASK_FAILED, error: "exit 1" } }),
      task(1, TASK_RUNNING, { id: "t1b" }),
      task(2, TASK_RUNNING),
    ];
    for (const t of script) {
      rollout = applyEvent(rollout, taskEvent(t));
      if (t.id === "t1b")
        rollout = applyEvent(rollout, taskEvent({ ...rollout.tasks.get("t1")!, desiredState: TASK_SHUTDOWN }));
      display.show(progressOf(rollout, undefined), "");
    }
    display.show(progressOf(rollout, undefined), "verify: Service web converged");
    expect(out.join("")).to.equal(`overall progress: 0 out of 2 tasks
1/2: pending
2/2: pending   no node has 64 CPUs
1/2: preparing
2/2: preparing
1/2: failed    exit 1
overall progress: 1 out of 2 tasks
1/2: running
overall progress: 2 out of 2 tasks
2/2: running
verify: Service web converged
`);
    expect(progressOf(rollout, undefined).phase).to.equal("converged");
  });

  it("redraws in place on a terminal and cuts long lines", () => {
    const out: string[] = [];
    const display = progressDisplay({
      isTTY: true,
      columns: 30,
      write: (text) => out.push(String(text)),
      drained: async () => {},
    });
    const shown = progressOf(start(1, [task(1, TASK_PREPARING)]), undefined);
    display.show(shown, "");
    display.show(shown, "verify: x");
    expect(out[0]).to.equal("\x1b[2Koverall progress: 0 out of 1 t\n\x1b[2K1/1: preparing [==============\n\x1b[J");
    expect(out[1]!.startsWith("\x1b[2A")).to.equal(true);
  });

  it("has only the overall line for more than 20 slots", () => {
    const tasks = Array.from({ length: 21 }, (_, i) => task(i + 1, TASK_RUNNING));
    expect(progressLines(progressOf(start(21, tasks), undefined), "")).to.deep.equal([
      "overall progress: 21 out of 21 tasks",
    ]);
  });

  it("does not count tasks of the old spec", () => {
    const old = task(1, TASK_RUNNING, { id: "old", specVersion: 9 });
    expect(progressOf(start(1, [old]), undefined)).to.deep.include({ running: 0, phase: "working" });
    expect(progressOf(start(1, [old]), undefined).slots[0]!.state).to.equal("waiting");
  });

  it("waits until a scale down has told the surplus tasks to stop", () => {
    const both = [task(1, TASK_RUNNING), task(2, TASK_RUNNING)];
    expect(progressOf(start(1, both), undefined).phase).to.equal("working");
    const after = applyEvent(start(1, both), taskEvent(task(2, TASK_RUNNING, { desiredState: TASK_SHUTDOWN })));
    expect(progressOf(after, undefined).phase).to.equal("converged");
    expect(progressOf(start(0), undefined).phase).to.equal("converged");
  });

  it("tells why a replaced task failed until the new one runs", () => {
    const failed = task(1, TASK_FAILED, {
      id: "a",
      desiredState: TASK_SHUTDOWN,
      status: { state: TASK_FAILED, error: "exit 3" },
    });
    expect(progressOf(start(1, [failed, task(1, TASK_PREPARING)]), undefined).slots[0]!.error).to.equal("exit 3");
    expect(progressOf(start(1, [failed, task(1, TASK_RUNNING)]), undefined).slots[0]!.error).to.equal("");
  });

  it("ignores events that are older than what is known, and other services", () => {
    const now = start(1, [task(1, TASK_RUNNING, { meta: { version: 50, createdAt: 1 } })]);
    expect(applyEvent(now, taskEvent(task(1, TASK_PENDING, { meta: { version: 49, createdAt: 1 } })))).to.deep.equal(
      now,
    );
    expect(applyEvent(now, taskEvent(task(2, TASK_PENDING, { serviceId: "other" })))).to.equal(now);
    expect(applyEvent(now, taskEvent(task(1, TASK_RUNNING), "remove")).tasks.size).to.equal(0);
    expect(applyEvent(now, event("remove", { $case: "service", value: service(1) })).removed).to.equal(true);
  });

  it("ends with an update that paused or rolled back, but not with one from before", () => {
    const phase = (state: UpdateState, before?: Service["updateStatus"]) =>
      progressOf({ ...start(1, [task(1, TASK_RUNNING)]), service: service(1, state) }, before).phase;
    expect(phase(UpdateState.UPDATE_UPDATING)).to.equal("working");
    expect(phase(UpdateState.UPDATE_COMPLETED)).to.equal("converged");
    expect(phase(UpdateState.UPDATE_PAUSED)).to.equal("paused");
    expect(phase(UpdateState.UPDATE_ROLLBACK_STARTED)).to.equal("working");
    expect(phase(UpdateState.UPDATE_ROLLBACK_COMPLETED)).to.equal("rolled-back");
    expect(phase(UpdateState.UPDATE_PAUSED, service(1, UpdateState.UPDATE_PAUSED).updateStatus)).to.equal("converged");
  });
});
