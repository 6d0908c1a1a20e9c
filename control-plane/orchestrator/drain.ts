// Moves tasks off drained nodes, at the pace of the service's updates and in their order. Start-first leaves the old task
// running until its replacement runs: also for good, where no other node can take it or the restart policy gave up.

import { RestartCondition, type Task, TaskState } from "#proto/gen/types.ts";
import type { Pass } from "./pass.ts";
import { isCurrent, isFinal } from "./slot.ts";
import { gives, isStartFirst, leavesDrained } from "./takeover.ts";
import { isLive, isRunning } from "./task-life.ts";
import { createTask, endTask } from "./write-task.ts";

export const drain = (pass: Pass): void => {
  const slots = [...Map.groupBy(pass.tasks(), (task) => task.slot).values()];
  let free = freeMoves(pass, slots);
  for (const members of slots) {
    const leaving = members.filter((task) => isLive(task) && leavesDrained(pass, task));
    if (leaving.length === 0) continue;
    if (!leaving.some(isRunning) || isMoving(pass, members)) move(pass, members, leaving);
    else if (free-- > 0) move(pass, members, leaving);
  }
};

/**
 * How many more slots may begin to move. Drained at once, a service would be down as a whole: the next slots go when the
 * ones before run elsewhere.
 */
const freeMoves = (pass: Pass, slots: readonly (readonly Task[])[]): number => {
  const atOnce = pass.service.spec?.update?.parallelism ?? 1;
  if (atOnce === 0) return Number.POSITIVE_INFINITY;
  return atOnce - slots.filter((members) => isMoving(pass, members)).length;
};

/** It had a task on a drained node, and does not run elsewhere yet. */
const isMoving = (pass: Pass, members: readonly Task[]): boolean =>
  members.some((task) => isLive(task) && !isRunning(task)) &&
  members.some((task) => leavesDrained(pass, task)) &&
  !members.some((task) => isRunning(task) && !leavesDrained(pass, task));

const move = (pass: Pass, members: readonly Task[], leaving: readonly Task[]): void => {
  const { tx, ctx, service } = pass;
  const newest = leaving.find((task) => isCurrent(pass, task)) ?? leaving[0]!;
  const once = newest.spec?.restart?.condition === RestartCondition.RESTART_NONE;
  const heir = members.find((task) => isLive(task) && !leaving.includes(task) && !gives(pass, task, newest));
  const waits = isStartFirst(service) && !once && !(heir !== undefined && isRunning(heir));
  const kept = waits
    ? (leaving.find((task) => isRunning(task) && isCurrent(pass, task)) ?? leaving.find(isRunning))
    : undefined;
  for (const task of leaving) if (task !== kept) endTask(tx, task, TaskState.TASK_SHUTDOWN);
  const gaveUp = kept !== undefined && members.some(isFinal);
  if (heir === undefined && !once && !gaveUp) createTask(tx, ctx, service, newest.slot, { from: newest });
};
