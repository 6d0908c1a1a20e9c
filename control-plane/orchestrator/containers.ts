// Containers of their own: tasks without a service. Nothing replaces them, moves them or starts them again.

import { removesItself } from "#control-plane/specs/own-container.ts";
import { TaskState } from "#proto/gen/types.ts";
import type { Pass } from "./pass.ts";
import { changedAt, hasEnded } from "./task-life.ts";
import { endTask } from "./write-task.ts";

/** The log goes with the container: whoever follows it has this long to read the end. */
const LAST_WORDS_MS = 5_000;

export const tendContainers = ({ tx, ctx, tasks, wake }: Omit<Pass, "service">): void => {
  for (const task of tasks()) {
    if (!hasEnded(task)) continue;
    endTask(tx, task, TaskState.TASK_COMPLETE);
    if (!removesItself(task)) continue;
    const at = changedAt(task) + LAST_WORDS_MS;
    if (at > ctx.now) wake(at);
    else tx.delete("task", task.id);
  }
};
