// The restart supervisor: what follows when a task ended by itself, or when its node can't keep it (node lost, or no
// longer matching the constraints). A replacement is made from the spec of the task that it replaces: moving tasks
// to another spec is the updater's business, at its pace.

import { matchesConstraints } from "#control-plane/specs/constraint.ts";
import type { Node, Task } from "#proto/gen/types.ts";
import { NodeAvailability, RestartCondition, TaskState } from "#proto/gen/types.ts";
import type { Pass } from "./pass.ts";
import { gives } from "./takeover.ts";
import { changedAt, hasEnded, isAssigned, isLive, isLost, isWanted, observed } from "./task-life.ts";
import { createTask, endTask } from "./write-task.ts";

/** After this time on a lost node a task is given up: its addresses become free. Swarm's value. */
export const ORPHAN_AFTER_MS = 24 * 3_600_000;

/** Sets ORPHANED where no agent will ever report the end: the node was removed, or has been down for a day. */
export const orphanTasks = ({ tx, ctx, tasks, wake }: Omit<Pass, "service">): void => {
  for (const task of tasks()) {
    if (!isAssigned(task) || hasEnded(task)) continue;
    const node = tx.get("node", task.nodeId);
    if (!isLost(node)) continue;
    const givenUpAt = node === undefined ? ctx.now : (node.status?.since ?? 0) + ORPHAN_AFTER_MS;
    if (givenUpAt > ctx.now) {
      wake(givenUpAt);
      continue;
    }
    const error = node === undefined ? "its node was removed" : "its node has been down for a day";
    const status = { message: "orphaned", exitCode: 0, pid: 0, containerId: "", ...task.status, error };
    tx.put("task", { ...task, status: { ...status, state: TaskState.TASK_ORPHANED, at: ctx.now } });
  }
};

export const restartTasks = (pass: Pass): void => {
  const slots = Map.groupBy(pass.tasks(), (task) => task.slot);
  const suits = constraintCheck();
  for (const members of slots.values())
    for (const task of members) {
      if (!isWanted(task) || !isAssigned(task)) continue;
      const node = pass.tx.get("node", task.nodeId);
      const orphaned = observed(task) === TaskState.TASK_ORPHANED;
      if (hasEnded(task) && !orphaned) afterEnd(pass, task, members);
      else if (orphaned || isLost(node) || !suits(task, node)) displace(pass, task, members, isLost(node) && !orphaned);
    }
};

/** Many tasks share node and spec; each pair is checked once. Paused nodes keep what they have. */
const constraintCheck = (): ((task: Task, node: Node | undefined) => boolean) => {
  const known = new Map<string, boolean>();
  return (task, node) => {
    const constraints = task.spec?.placement?.constraints ?? [];
    if (constraints.length === 0 || node === undefined) return true;
    if (node.spec?.availability === NodeAvailability.PAUSE) return true;
    const key = `${node.id}/${constraints.join("\n")}`;
    const result = known.get(key) ?? matchesConstraints(node, constraints);
    known.set(key, result);
    return result;
  };
};

const afterEnd = (pass: Pass, task: Task, members: readonly Task[]): void => {
  const { tx, ctx, service } = pass;
  const needed = isNeeded(pass, task, members);
  const restart = needed && mayRestart(task, members, ctx.now);
  endTask(tx, task, needed && !restart ? TaskState.TASK_COMPLETE : TaskState.TASK_SHUTDOWN);
  if (!restart) return;
  const startAfter = ctx.now + (task.spec?.restart?.delayMs ?? 0);
  // What could not be prepared is not tried again at once either.
  const ahead = observed(task) !== TaskState.TASK_REJECTED;
  createTask(tx, ctx, service, task.slot, { from: task, wait: { startAfter, ahead } });
};

/**
 * With the condition `none` nothing is started twice: on a lost node the task is left alone, it may still do its work;
 * on others it ends and its slot is spent.
 */
const displace = (pass: Pass, task: Task, members: readonly Task[], silent: boolean): void => {
  const { tx, ctx, service } = pass;
  const once = task.spec?.restart?.condition === RestartCondition.RESTART_NONE;
  if (once && silent) return;
  const replace = !once && isNeeded(pass, task, members);
  endTask(tx, task, once && hasEnded(task) ? TaskState.TASK_COMPLETE : TaskState.TASK_SHUTDOWN);
  if (replace) createTask(tx, ctx, service, task.slot, { from: task });
};

/** Another live task in the slot makes a replacement needless, unless it is there only until this one runs. */
const isNeeded = (pass: Pass, task: Task, members: readonly Task[]): boolean =>
  members.every((other) => other === task || !isLive(other) || gives(pass, other, task));

/** The policy: condition, then attempts within the window. Earlier ends are counted from the slot's history. */
const mayRestart = (task: Task, members: readonly Task[], now: number): boolean => {
  const policy = task.spec?.restart;
  const condition = policy?.condition ?? RestartCondition.RESTART_ANY;
  if (condition === RestartCondition.RESTART_NONE) return false;
  if (condition === RestartCondition.RESTART_ON_FAILURE && observed(task) === TaskState.TASK_COMPLETE) return false;
  const most = policy?.maxAttempts ?? 0;
  if (most === 0) return true;
  const windowMs = policy?.windowMs ?? 0;
  const earlier = members.filter(
    (other) =>
      other !== task &&
      other.specVersion === task.specVersion &&
      endedByItself(other) &&
      (windowMs === 0 || changedAt(other) > now - windowMs),
  );
  return earlier.length < most;
};

const ENDED_BY_ITSELF: ReadonlySet<TaskState> = new Set([
  TaskState.TASK_COMPLETE,
  TaskState.TASK_FAILED,
  TaskState.TASK_REJECTED,
]);

export const endedByItself = (task: Task): boolean => ENDED_BY_ITSELF.has(observed(task));
