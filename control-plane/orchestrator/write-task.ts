// The only places where the orchestrator makes tasks and changes their desired state, which only grows.

import type { Tx, WriteContext } from "#control-plane/state/types.ts";
import type { Service, TaskSpec } from "#proto/gen/types.ts";
import { Task, TaskState } from "#proto/gen/types.ts";
import { isAssigned } from "./task-life.ts";

export const STACK_LABEL = "com.docker.stack.namespace";

/** It is not started before; prepared `ahead` or not. */
type Wait = { readonly startAfter: number; readonly ahead: boolean };
type Blueprint = { readonly spec: TaskSpec | undefined; readonly specVersion: number };

/**
 * A new task for the slot, from the service's spec or from that of the task that it replaces. It is prepared at once,
 * unless the wait says otherwise, and started when `promote` finds that nothing stands against it.
 */
export const createTask = (
  tx: Tx,
  ctx: WriteContext,
  service: Service,
  slot: number,
  { from, wait }: { readonly from?: Blueprint; readonly wait?: Wait } = {},
): Task => {
  const annotations = service.spec?.annotations;
  const blueprint = from ?? { spec: service.spec?.task, specVersion: service.specVersion };
  const task: Task = {
    ...Task.fromPartial({}),
    id: ctx.newId(),
    serviceId: service.id,
    slot,
    name: `${annotations?.name ?? ""}.${slot}`,
    spec: blueprint.spec,
    specVersion: blueprint.specVersion,
    status: {
      state: TaskState.TASK_NEW,
      at: ctx.now,
      message: "created",
      error: "",
      exitCode: 0,
      pid: 0,
      containerId: "",
    },
    desiredState: wait?.ahead === false ? TaskState.TASK_ACCEPTED : TaskState.TASK_READY,
    serviceName: annotations?.name ?? "",
    stack: annotations?.labels[STACK_LABEL] ?? "",
    startAfter: wait?.startAfter ?? 0,
  };
  tx.put("task", task);
  return task;
};

/** Raises the desired state. A task that no agent knows of has nothing to end: it is deleted. */
export const endTask = (
  tx: Tx,
  task: Task,
  desired: typeof TaskState.TASK_COMPLETE | typeof TaskState.TASK_SHUTDOWN | typeof TaskState.TASK_REMOVE,
): void => {
  if (!isAssigned(task)) tx.delete("task", task.id);
  else if (task.desiredState < desired) tx.put("task", { ...task, desiredState: desired });
};
