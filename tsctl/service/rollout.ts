// Where a service is on the way to what its spec says: pure, from the objects that the watch stream brings.

import type { WatchEvent } from "#proto/gen/control.ts";
import { type Service, type StoreObject, type Task, TaskState, UpdateState } from "#proto/gen/types.ts";
import { enumName } from "#tsctl/output/plain.ts";

export type Rollout = {
  readonly service: Service;
  readonly tasks: ReadonlyMap<string, Task>;
  readonly removed: boolean;
};

const newer = (
  a: { meta: { version: number } | undefined },
  b: { meta: { version: number } | undefined } | undefined,
) => (a.meta?.version ?? 0) >= (b?.meta?.version ?? 0);

const serviceOf = (o: StoreObject | undefined) => (o?.object?.$case === "service" ? o.object.value : undefined);
const taskOf = (o: StoreObject | undefined) => (o?.object?.$case === "task" ? o.object.value : undefined);

/** Events may repeat what is known already, or be older. */
export const applyEvent = (rollout: Rollout, event: WatchEvent): Rollout => {
  const gone = event.action === "remove";
  const service = serviceOf(event.object) ?? serviceOf(event.previous);
  if (service?.id === rollout.service.id) {
    if (gone) return { ...rollout, removed: true };
    return newer(service, rollout.service) ? { ...rollout, service } : rollout;
  }
  const task = taskOf(event.object) ?? taskOf(event.previous);
  if (task?.serviceId !== rollout.service.id) return rollout;
  const tasks = new Map(rollout.tasks);
  if (gone) tasks.delete(task.id);
  else if (newer(task, tasks.get(task.id))) tasks.set(task.id, task);
  return { ...rollout, tasks };
};

export type SlotProgress = {
  readonly slot: number;
  /** State of the slot's newest task; "waiting" before there is one of the new spec. */
  readonly state: string;
  readonly running: boolean;
  /** Why the slot's last task ended or can't start; "" when all is well. */
  readonly error: string;
};

export type Progress = {
  readonly running: number;
  readonly wanted: number;
  readonly slots: readonly SlotProgress[];
  readonly phase: "working" | "converged" | "paused" | "rolled-back";
  readonly rollingBack: boolean;
  readonly message: string;
};

const wantsToRun = (task: Task) => task.desiredState <= TaskState.TASK_RUNNING;
const stateOf = (task: Task) => task.status?.state ?? TaskState.TASK_NEW;

const slotProgress = (slot: number, tasks: readonly Task[], specVersion: number): SlotProgress => {
  const byAge = [...tasks].sort(
    (a, b) => Number(wantsToRun(b)) - Number(wantsToRun(a)) || (b.meta?.createdAt ?? 0) - (a.meta?.createdAt ?? 0),
  );
  const current = byAge.filter((t) => t.specVersion === specVersion);
  const newest = current[0];
  if (!newest) return { slot, state: "waiting", running: false, error: "" };
  const state = stateOf(newest);
  const running = wantsToRun(newest) && state === TaskState.TASK_RUNNING;
  const reason = newest.status?.error || current[1]?.status?.error || "";
  return { slot, state: enumName(TaskState, state), running, error: running ? "" : reason };
};

/** @param before the update status when the user's change was made: an older pause or rollback is not its outcome. */
export const progressOf = (rollout: Rollout, before: Service["updateStatus"]): Progress => {
  const { service } = rollout;
  const wanted = service.spec?.replicas ?? 0;
  const bySlot = new Map<number, Task[]>();
  for (const task of rollout.tasks.values()) bySlot.set(task.slot, [...(bySlot.get(task.slot) ?? []), task]);
  const active = [...bySlot].filter(([, tasks]) => tasks.some(wantsToRun));
  const slots = active.sort(([a], [b]) => a - b).map(([slot, tasks]) => slotProgress(slot, tasks, service.specVersion));
  const running = slots.filter((slot) => slot.running).length;

  const status = service.updateStatus;
  const state = status?.state ?? UpdateState.UPDATE_STATE_UNSPECIFIED;
  const changed = status !== undefined && (status.state !== before?.state || status.startedAt !== before?.startedAt);
  const busy = state === UpdateState.UPDATE_UPDATING || state === UpdateState.UPDATE_ROLLBACK_STARTED;
  const paused = state === UpdateState.UPDATE_PAUSED || state === UpdateState.UPDATE_ROLLBACK_PAUSED;
  const done = running === wanted && slots.length === wanted && !busy;
  return {
    running,
    wanted,
    slots,
    phase:
      changed && paused
        ? "paused"
        : done && changed && state === UpdateState.UPDATE_ROLLBACK_COMPLETED
          ? "rolled-back"
          : done
            ? "converged"
            : "working",
    rollingBack: state === UpdateState.UPDATE_ROLLBACK_STARTED,
    message: status?.message ?? "",
  };
};
