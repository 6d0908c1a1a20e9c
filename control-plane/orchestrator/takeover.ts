// Start-first: two live tasks in a slot, of which the old one gives its place as soon as the new one runs.

import type { Service, Task } from "#proto/gen/types.ts";
import { UpdateOrder, UpdateState } from "#proto/gen/types.ts";
import type { Pass } from "./pass.ts";
import { isCurrent } from "./slot.ts";
import { isAssigned, isDrained, isLost } from "./task-life.ts";

export const isStartFirst = (service: Service): boolean => service.spec?.update?.order === UpdateOrder.START_FIRST;

/** Its node is drained and can say when the task has ended. */
export const leavesDrained = ({ tx }: Pick<Pass, "tx">, task: Task): boolean => {
  if (!isAssigned(task)) return false;
  const node = tx.get("node", task.nodeId);
  return isDrained(node) && !isLost(node);
};

/**
 * `old` is in the slot only until `task`, or what replaces it, runs: its node is drained, or an update is under way. After
 * an update that came to a halt the old task stays.
 */
export const gives = (pass: Pass, old: Task, task: Task): boolean => {
  const { service } = pass;
  if (!isStartFirst(service)) return false;
  const updating = service.updateStatus?.state === UpdateState.UPDATE_UPDATING;
  return leavesDrained(pass, old) || (updating && isCurrent(pass, task) && !isCurrent(pass, old));
};
