import { expect } from "chai";
import { type Observed, step } from "#node-agent/task/step.ts";
import { TaskState } from "#proto/gen/types.ts";

const observed = (o: Partial<Observed>): Observed => ({
  container: "none",
  exitCode: 0,
  oomKilled: false,
  holdsResources: false,
  inUse: false,
  assigned: true,
  ...o,
});
const {
  TASK_ASSIGNED,
  TASK_ACCEPTED,
  TASK_PREPARING,
  TASK_READY,
  TASK_STARTING,
  TASK_RUNNING,
  TASK_SHUTDOWN,
  TASK_COMPLETE,
  TASK_FAILED,
  TASK_REMOVE,
} = TaskState;

describe("task step", () => {
  const table: [string, TaskState, TaskState, Partial<Observed>, "nothing" | [TaskState, string]][] = [
    ["is accepted", TASK_ASSIGNED, TASK_RUNNING, {}, [TASK_ACCEPTED, "none"]],
    ["waits while only ACCEPTED is wanted", TASK_ACCEPTED, TASK_ACCEPTED, {}, "nothing"],
    ["is prepared", TASK_PREPARING, TASK_RUNNING, {}, [TASK_READY, "prepare"]],
    ["waits while only READY is wanted", TASK_READY, TASK_READY, { container: "created" }, "nothing"],
    ["starts when RUNNING is wanted", TASK_READY, TASK_RUNNING, { container: "created" }, [TASK_STARTING, "none"]],
    ["starts its container", TASK_STARTING, TASK_RUNNING, { container: "created" }, [TASK_RUNNING, "start"]],
    [
      "does not start twice after a crash of the agent",
      TASK_STARTING,
      TASK_RUNNING,
      { container: "running" },
      [TASK_RUNNING, "none"],
    ],
    ["stays running", TASK_RUNNING, TASK_RUNNING, { container: "running" }, "nothing"],
    ["completes", TASK_RUNNING, TASK_RUNNING, { container: "exited" }, [TASK_COMPLETE, "none"]],
    ["fails", TASK_RUNNING, TASK_RUNNING, { container: "exited", exitCode: 1 }, [TASK_FAILED, "none"]],
    ["fails when its container vanished", TASK_RUNNING, TASK_RUNNING, {}, [TASK_FAILED, "none"]],
    ["is stopped", TASK_RUNNING, TASK_SHUTDOWN, { container: "running" }, [TASK_SHUTDOWN, "stop"]],
    [
      "goes on while clients use it",
      TASK_RUNNING,
      TASK_SHUTDOWN,
      { container: "running", inUse: true },
      [TASK_RUNNING, "drain"],
    ],
    [
      "its own end ends the wait for its clients",
      TASK_RUNNING,
      TASK_SHUTDOWN,
      { container: "exited", inUse: true },
      [TASK_SHUTDOWN, "none"],
    ],
    [
      "is stopped when its view loses it",
      TASK_RUNNING,
      TASK_RUNNING,
      { container: "running", assigned: false },
      [TASK_SHUTDOWN, "stop"],
    ],
    [
      "an exit during the stop is a shutdown",
      TASK_RUNNING,
      TASK_REMOVE,
      { container: "exited", exitCode: 137 },
      [TASK_SHUTDOWN, "none"],
    ],
    ["never runs when it is cancelled first", TASK_ACCEPTED, TASK_REMOVE, {}, [TASK_SHUTDOWN, "none"]],
    ["gives back what it holds", TASK_FAILED, TASK_RUNNING, { holdsResources: true }, [TASK_FAILED, "release"]],
    ["keeps its log while it is assigned", TASK_FAILED, TASK_SHUTDOWN, {}, "nothing"],
    ["is forgotten when it is not", TASK_SHUTDOWN, TASK_REMOVE, { assigned: false }, [TASK_SHUTDOWN, "forget"]],
  ];
  for (const [what, state, desired, o, want] of table)
    it(what, () => {
      const got = step(state, desired, observed(o));
      expect(got === "nothing" ? got : [got.next, got.action]).to.deep.equal(want);
    });

  it("never goes back", () => {
    const states = Object.values(TaskState);
    for (const state of states)
      for (const desired of states)
        for (const container of ["none", "created", "running", "exited"] as const)
          for (const assigned of [true, false])
            for (const holdsResources of [true, false])
              for (const inUse of [true, false]) {
                const got = step(state, desired, observed({ container, assigned, holdsResources, inUse }));
                if (got !== "nothing") expect(got.next).to.be.at.least(state);
              }
  });
});
