// A service's tasks by slot. The state of a slot is read from its tasks alone, so every new leader sees the same.

import { hostPorts, ingressPorts } from "#control-plane/specs/ports.ts";
import type { PortConfig, Task } from "#proto/gen/types.ts";
import { RestartCondition, TaskState } from "#proto/gen/types.ts";
import type { Pass } from "./pass.ts";
import { sameData } from "./same-data.ts";
import { isLive } from "./task-life.ts";

export type Slot = {
  readonly number: number;
  readonly tasks: readonly Task[];
  readonly live: readonly Task[];
  /** Made from the service's spec as it is now. */
  readonly current: readonly Task[];
  /** Nothing runs here and by the restart policy nothing shall, until the service is updated. */
  readonly spent: boolean;
};

/** A service as the state has it. */
type Of = Pick<Pass, "tx" | "service">;

export const slotsOf = (of: Of, tasks: readonly Task[]): Map<number, Slot> => {
  const slots = new Map<number, Slot>();
  for (const [number, members] of Map.groupBy(tasks, (task) => task.slot)) {
    const live = members.filter(isLive);
    const current = members.filter((task) => isCurrent(of, task));
    slots.set(number, { number, tasks: members, live, current, spent: live.length === 0 && isSpent(members, current) });
  }
  return slots;
};

/**
 * The version usually tells; after a rollback the version is new and the tasks that were never updated still have the
 * very spec that is wanted again.
 */
export const isCurrent = ({ tx, service }: Of, task: Task): boolean =>
  task.specVersion === service.specVersion ||
  (sameData(task.spec, service.spec?.task) && publishesAlike(service.spec?.ports ?? [], task, tx.ingressNetwork()?.id));

/**
 * The task has the ports of mode host that are wanted, and is on the network of the mesh exactly when ports of it are wanted.
 * That network is no part of the spec; a task with ports of mode host may need it too. To other networks it may have been
 * connected while it ran: that makes it no other task.
 */
const publishesAlike = (wanted: readonly PortConfig[], task: Task, mesh: string | undefined): boolean => {
  const ports = hostPorts(wanted);
  const same = ports.every((port, i) => {
    const had = task.ports[i];
    return had !== undefined && sameData({ ...port, published: port.published || had.published }, had);
  });
  if (!same || ports.length !== task.ports.length) return false;
  const onMesh = task.attachments.some((attachment) => attachment.networkId === mesh);
  return ingressPorts(wanted).length > 0 ? onMesh : !onMesh || task.ports.length > 0;
};

/** It ended by itself and is not to be replaced: the desired state COMPLETE says so (set by the restart policy). */
export const isFinal = (task: Task): boolean => task.desiredState === TaskState.TASK_COMPLETE;

/** With the condition `none` one task is all that a slot gets, however it ended. */
const isSpent = (tasks: readonly Task[], current: readonly Task[]): boolean =>
  tasks.some(isFinal) ||
  current.some(
    (task) =>
      task.spec?.restart?.condition === RestartCondition.RESTART_NONE &&
      task.nodeId !== "" &&
      task.desiredState !== TaskState.TASK_REMOVE,
  );

/** The slot counts as one of the service's replicas. */
export const isOccupied = (slot: Slot): boolean => slot.live.length > 0 || slot.spent;

/** It is occupied, but by nothing that was made from the spec as it is now. */
export const isDirty = (slot: Slot): boolean =>
  isOccupied(slot) && !slot.current.some(isLive) && !(slot.live.length === 0 && isSpent(slot.current, slot.current));
