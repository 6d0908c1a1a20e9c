// What a task's two state fields mean together. Everyone who asks "does it run, will it, is it over" asks here.

import type { Node, Task } from "#proto/gen/types.ts";
import { NodeAvailability, NodeState, TaskState } from "#proto/gen/types.ts";

export const observed = (task: Task): TaskState => task.status?.state ?? TaskState.TASK_NEW;

/** The agent (or the loss of its node) said that no container of this task runs any more. */
export const hasEnded = (task: Task): boolean => observed(task) > TaskState.TASK_RUNNING;

/** Wanted to run, now or after a wait. */
export const isWanted = (task: Task): boolean => task.desiredState <= TaskState.TASK_RUNNING;

/** Wanted and not over: it fills its slot. */
export const isLive = (task: Task): boolean => isWanted(task) && !hasEnded(task);

/** Told to end, and not over yet: it still holds its addresses and resources. */
export const isLeaving = (task: Task): boolean => !isWanted(task) && !hasEnded(task);

export const isRunning = (task: Task): boolean =>
  task.desiredState === TaskState.TASK_RUNNING && observed(task) === TaskState.TASK_RUNNING;

/** An agent knows of it, so that only the agent can say that it ended. */
export const isAssigned = (task: Task): boolean => task.nodeId !== "";

/** Nobody can say what runs there. A node that is merely silent for a moment (unknown, disconnected) is not lost. */
export const isLost = (node: Node | undefined): boolean =>
  node === undefined || node.status?.state === NodeState.NODE_DOWN;

export const isDrained = (node: Node | undefined): boolean => node?.spec?.availability === NodeAvailability.DRAIN;

/** When this version of the task was committed: the leader's clock, which is the one that timers compare with. */
export const changedAt = (task: Task): number => task.meta?.updatedAt ?? 0;
export const createdAt = (task: Task): number => task.meta?.createdAt ?? 0;

/** Newest first, the same on every manager. */
export const byAge = (a: Task, b: Task): number => createdAt(b) - createdAt(a) || (a.id < b.id ? 1 : -1);
