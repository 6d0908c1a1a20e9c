// To RUNNING, as a desired state: a task that waits, prepared or not, may start once its delay is over and every task
// that left its slot has ended. A lost node can't say so and is not waited for.
import { TaskState } from "#proto/gen/types.ts";
import type { Pass } from "./pass.ts";
import { isLeaving, isLive, isLost } from "./task-life.ts";

export const promote = ({ tx, ctx, tasks, wake }: Pass): void => {
  const all = tasks();
  const blocked = new Set<number>();
  for (const task of all) if (isLeaving(task) && !isLost(tx.get("node", task.nodeId))) blocked.add(task.slot);
  for (const task of all) {
    if (!isLive(task) || task.desiredState === TaskState.TASK_RUNNING || blocked.has(task.slot)) continue;
    if (task.startAfter > ctx.now) wake(task.startAfter);
    else tx.put("task", { ...task, desiredState: TaskState.TASK_RUNNING });
  }
};
