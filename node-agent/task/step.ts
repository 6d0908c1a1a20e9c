// The life of a task on its node, one transition at a time (Swarm's states, architecture.md "Tasks"). Pure: what is wanted
// and what is seen go in, the next state and what must be done to reach it come out. States only grow.
import { TaskState } from "#proto/gen/types.ts";

export type Observed = {
  /** The container as the runtime has it. */
  readonly container: "none" | "created" | "running" | "exited";
  readonly exitCode: number;
  readonly oomKilled: boolean;
  /** Namespace, root filesystem or container are still there. */
  readonly holdsResources: boolean;
  /** Clients may still use it: new connections may come, or those that it has are not over. */
  readonly inUse: boolean;
  /** The node's view has the task; without it the task is gone for the control plane. */
  readonly assigned: boolean;
};

export type Action =
  | "none"
  /** Image, root filesystem, networking, container created. */
  | "prepare"
  | "start"
  /** Waits a moment for its clients. */
  | "drain"
  /** Signal, grace period, kill; resolves when it has ended. */
  | "stop"
  /** Everything but record and log goes. */
  | "release"
  /** Record and log go as well. */
  | "forget";

export type Step = {
  readonly next: TaskState;
  readonly action: Action;
  /** Where a failed action leads. */
  readonly failed: TaskState;
  readonly message: string;
  readonly error?: string;
};

const {
  TASK_ACCEPTED,
  TASK_COMPLETE,
  TASK_FAILED,
  TASK_PREPARING,
  TASK_READY,
  TASK_REJECTED,
  TASK_RUNNING,
  TASK_SHUTDOWN,
  TASK_STARTING,
} = TaskState;

export const isEnded = (state: TaskState): boolean => state >= TASK_COMPLETE;

const exited = ({ exitCode, oomKilled }: Observed, stopping: boolean): Step => {
  if (stopping) return { next: TASK_SHUTDOWN, action: "none", failed: TASK_FAILED, message: "shutdown" };
  if (exitCode === 0) return { next: TASK_COMPLETE, action: "none", failed: TASK_FAILED, message: "finished" };
  const error = oomKilled ? `task: out of memory (exit ${exitCode})` : `task: non-zero exit (${exitCode})`;
  return { next: TASK_FAILED, action: "none", failed: TASK_FAILED, message: "started", error };
};

/** What to do next for a task in `state` that shall be in `desired`; "nothing" until something changes. */
export const step = (state: TaskState, desired: TaskState, observed: Observed): Step | "nothing" => {
  const stopping = desired >= TASK_SHUTDOWN || !observed.assigned;
  if (isEnded(state)) {
    if (observed.holdsResources) return { next: state, action: "release", failed: state, message: "" };
    return observed.assigned ? "nothing" : { next: state, action: "forget", failed: state, message: "" };
  }
  if (observed.container === "exited" && state >= TASK_STARTING) return exited(observed, stopping);
  if (stopping && observed.container === "running" && observed.inUse)
    return { next: state, action: "drain", failed: state, message: "draining" };
  if (stopping)
    return observed.container === "running"
      ? { next: TASK_SHUTDOWN, action: "stop", failed: TASK_FAILED, message: "shutdown" }
      : { next: TASK_SHUTDOWN, action: "none", failed: TASK_FAILED, message: "shutdown before it ran" };
  if (state < TASK_ACCEPTED) return { next: TASK_ACCEPTED, action: "none", failed: TASK_REJECTED, message: "accepted" };
  if (state < TASK_READY && desired < TASK_READY) return "nothing";
  if (state < TASK_PREPARING)
    return { next: TASK_PREPARING, action: "none", failed: TASK_REJECTED, message: "preparing" };
  if (state < TASK_READY) return { next: TASK_READY, action: "prepare", failed: TASK_REJECTED, message: "prepared" };
  if (state < TASK_STARTING) {
    if (desired < TASK_RUNNING) return "nothing";
    return { next: TASK_STARTING, action: "none", failed: TASK_FAILED, message: "starting" };
  }
  if (state < TASK_RUNNING)
    return {
      next: TASK_RUNNING,
      action: observed.container === "running" ? "none" : "start",
      failed: TASK_FAILED,
      message: "started",
    };
  // A container that should run and is not there: the host was restarted, or somebody removed it.
  if (observed.container !== "running")
    return {
      next: TASK_FAILED,
      action: "none",
      failed: TASK_FAILED,
      message: "started",
      error: "task: its container is gone",
    };
  return "nothing";
};
