// Deletes tasks that are over: those that were to be removed, and history beyond the limit.

import type { ReadTx, Tx } from "#control-plane/state/types.ts";
import type { Task } from "#proto/gen/types.ts";
import { RestartCondition, TaskState, UpdateState } from "#proto/gen/types.ts";
import type { Pass } from "./pass.ts";
import { isCurrent, isFinal } from "./slot.ts";
import { byAge, hasEnded, isAssigned, isWanted } from "./task-life.ts";

const DEFAULT_HISTORY = 5;

/** Those with desired REMOVE that have ended, and what no agent knows of and nobody wants. */
export const reapRemoved = (tx: Tx, tasks: readonly Task[]): void => {
  for (const task of tasks) {
    const over = task.desiredState === TaskState.TASK_REMOVE && hasEnded(task);
    if (over || (!isAssigned(task) && !isWanted(task))) tx.delete("task", task.id);
  }
};

/** Keeps the newest ended tasks of each slot. A task that speaks for its spent slot is no history. */
export const reapHistory = ({ tx, service, tasks }: Pass): void => {
  for (const members of Map.groupBy(tasks(), (task) => task.slot).values()) {
    const ended = members.filter((task) => hasEnded(task) && !isWanted(task));
    const history = ended.filter((task) => !(isFinal(task) && isCurrent({ tx, service }, task))).sort(byAge);
    for (const task of history.slice(historyLimit(tx, { service }))) tx.delete("task", task.id);
  }
};

/** The restart policy and the updater read the past from the history, so as much as they need is kept in any case. */
const historyLimit = (tx: ReadTx, { service }: Pick<Pass, "service">): number => {
  const policy = service.spec?.task?.restart;
  const updating = service.updateStatus?.state === UpdateState.UPDATE_UPDATING;
  const rollingBack = service.updateStatus?.state === UpdateState.UPDATE_ROLLBACK_STARTED;
  const needed = updating || rollingBack || policy?.condition === RestartCondition.RESTART_NONE ? 1 : 0;
  return Math.max(tx.cluster()?.spec?.taskHistory ?? DEFAULT_HISTORY, policy?.maxAttempts ?? 0, needed);
};
