// The updater: moves the slots of a service to its current spec, a few at a time. What was done is read from the tasks
// and from service.update_status, so a new leader goes on where the old one stopped. Times are those of the log's
// commands: an agent with a wrong clock delays nothing.

import type { Service, Task } from "#proto/gen/types.ts";
import {
  FailureAction,
  RestartCondition,
  TaskState,
  UpdateConfig,
  UpdateOrder,
  UpdateState,
} from "#proto/gen/types.ts";
import type { Pass } from "./pass.ts";
import { endedByItself } from "./restart.ts";
import { isCurrent, isDirty, isFinal, isOccupied, type Slot, slotsOf } from "./slot.ts";
import { leavesDrained } from "./takeover.ts";
import { changedAt, createdAt, isLive, isRunning, observed } from "./task-life.ts";
import { createTask, endTask } from "./write-task.ts";

const DEFAULTS: UpdateConfig = UpdateConfig.fromPartial({ parallelism: 1, monitorMs: 5000 });

export const update = (pass: Pass): void => {
  const { service, ctx } = pass;
  const slots = [...slotsOf(pass, pass.tasks()).values()].filter(isOccupied);
  const dirty = slots.filter(isDirty);
  const state = service.updateStatus?.state ?? UpdateState.UPDATE_STATE_UNSPECIFIED;
  const config = (isRollback(state) ? service.spec?.rollback : service.spec?.update) ?? DEFAULTS;
  for (const slot of slots) settleSlot(pass, slot, config);
  if (state === UpdateState.UPDATE_PAUSED || state === UpdateState.UPDATE_ROLLBACK_PAUSED) return;
  const moving = state === UpdateState.UPDATE_UPDATING || state === UpdateState.UPDATE_ROLLBACK_STARTED;
  if (!moving && dirty.length === 0) return;
  let running = service;
  if (!moving) running = setStatus(pass, service, UpdateState.UPDATE_UPDATING, "update in progress");
  const startedAt = running.updateStatus?.startedAt ?? ctx.now;
  const failed = new Set(slots.filter((slot) => slot.current.some((task) => hasFailed(task, startedAt))));
  if (failed.size > 0 && failed.size / slots.length > config.maxFailureRatio) {
    if (haltOrRollBack(pass, running, config, failed.size, slots.length)) return;
  }
  if (dirty.length > 0) moveSlots(pass, config, slots, dirty, failed);
  else if (slots.every((slot) => failed.has(slot) || isStable(pass, slot, config.monitorMs)))
    complete(pass, running, isRollback(state));
};

const isRollback = (state: UpdateState): boolean => state >= UpdateState.UPDATE_ROLLBACK_STARTED;

/**
 * Two generations in one slot: with start-first the old one leaves once the new one runs, otherwise at once. Of two of one
 * generation, one on a drained node is `drain`'s business.
 */
const settleSlot = (pass: Pass, slot: Slot, config: UpdateConfig): void => {
  const { tx } = pass;
  const current = slot.live.filter((task) => isCurrent(pass, task));
  const old = slot.live.filter((task) => !current.includes(task));
  const ready = config.order !== UpdateOrder.START_FIRST || current.some(isRunning);
  if (current.length > 0 && ready) for (const task of old) endTask(tx, task, TaskState.TASK_SHUTDOWN);
  const [, ...doubles] = current
    .filter((task) => !leavesDrained(pass, task))
    .sort((a, b) => Number(isRunning(b)) - Number(isRunning(a)) || createdAt(a) - createdAt(b));
  for (const task of doubles) endTask(tx, task, TaskState.TASK_SHUTDOWN);
};

/** A task of this update that did not stay up. One that completes is a failure only where it would be restarted. */
const hasFailed = (task: Task, startedAt: number): boolean => {
  if (!endedByItself(task) || createdAt(task) < startedAt) return false;
  if (observed(task) !== TaskState.TASK_COMPLETE) return true;
  const condition = task.spec?.restart?.condition ?? RestartCondition.RESTART_ANY;
  return condition !== RestartCondition.RESTART_NONE && condition !== RestartCondition.RESTART_ON_FAILURE;
};

const moveSlots = (
  pass: Pass,
  config: UpdateConfig,
  slots: readonly Slot[],
  dirty: readonly Slot[],
  failed: ReadonlySet<Slot>,
): void => {
  const { tx, ctx, service } = pass;
  const isBusy = (slot: Slot): boolean => !isDirty(slot) && !failed.has(slot) && !isStable(pass, slot, config.delayMs);
  const busy = slots.filter(isBusy).length;
  const free = config.parallelism === 0 ? dirty.length : Math.max(config.parallelism - busy, 0);
  const down = (slot: Slot): boolean => !slot.live.some(isRunning);
  const order = [...dirty].sort((a, b) => Number(down(b)) - Number(down(a)) || a.number - b.number);
  for (const slot of order.slice(0, free)) {
    const kept = config.order === UpdateOrder.START_FIRST ? slot.live.find(isRunning) : undefined;
    const replaced = slot.tasks.filter((task) => isFinal(task) || (isLive(task) && task !== kept));
    for (const task of replaced) endTask(tx, task, TaskState.TASK_SHUTDOWN);
    createTask(tx, ctx, service, slot.number);
  }
};

/** Its current task has been running for so long, or it is spent. Asks to be woken when that only takes time. */
const isStable = ({ ctx, wake }: Pass, slot: Slot, forMs: number): boolean => {
  const task = slot.current.find(isLive);
  if (task === undefined) return slot.spent;
  if (!isRunning(task)) return false;
  const at = changedAt(task) + forMs;
  if (at <= ctx.now) return true;
  wake(at);
  return false;
};

/** True when the update goes no further as it is. */
const haltOrRollBack = (pass: Pass, service: Service, config: UpdateConfig, failed: number, of: number): boolean => {
  if (config.failureAction === FailureAction.FAILURE_CONTINUE) return false;
  const why = `${failed} of ${of} tasks failed`;
  if (isRollback(service.updateStatus?.state ?? UpdateState.UPDATE_STATE_UNSPECIFIED)) {
    setStatus(pass, service, UpdateState.UPDATE_ROLLBACK_PAUSED, `rollback paused: ${why}`);
    return true;
  }
  const previous = service.previousSpec;
  const isGone = ({ target }: { readonly target: string }): boolean => pass.tx.get("network", target) === undefined;
  const noWayBack = previous === undefined || (previous.task?.networks ?? []).some(isGone);
  if (config.failureAction !== FailureAction.FAILURE_ROLLBACK || noWayBack) {
    setStatus(pass, service, UpdateState.UPDATE_PAUSED, `update paused: ${why}`);
    return true;
  }
  const back: Service = { ...service, spec: previous, previousSpec: undefined, specVersion: service.specVersion + 1 };
  setStatus(pass, back, UpdateState.UPDATE_ROLLBACK_STARTED, `update rolled back: ${why}`);
  return true;
};

const complete = (pass: Pass, service: Service, rollback: boolean): void => {
  const state = rollback ? UpdateState.UPDATE_ROLLBACK_COMPLETED : UpdateState.UPDATE_COMPLETED;
  setStatus(pass, service, state, rollback ? "rollback completed" : "update completed");
};

const setStatus = ({ tx, ctx }: Pass, service: Service, state: UpdateState, message: string): Service => {
  const begins = state === UpdateState.UPDATE_UPDATING || state === UpdateState.UPDATE_ROLLBACK_STARTED;
  const ends = state === UpdateState.UPDATE_COMPLETED || state === UpdateState.UPDATE_ROLLBACK_COMPLETED;
  const startedAt = begins ? ctx.now : (service.updateStatus?.startedAt ?? ctx.now);
  const written: Service = { ...service, updateStatus: { state, startedAt, completedAt: ends ? ctx.now : 0, message } };
  tx.put("service", written);
  return written;
};
