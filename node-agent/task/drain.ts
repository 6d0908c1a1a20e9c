// When a task that is to stop may be stopped: it is out of all maps and names (`drained`), and its connections are over; at
// the latest when its drain time has passed. Pure.
import { type Task, TaskState } from "#proto/gen/types.ts";

export const DEFAULT_DRAIN_MS = 10_000;

export const drainMsOf = (task: Task): number => task.spec?.drainMs ?? DEFAULT_DRAIN_MS;

/** The services of the node's view, by the keys of their assignments. */
type Services = {
  readonly services: Pick<ReadonlySet<string>, "has">;
  readonly published: Pick<ReadonlySet<string>, "has">;
};

/**
 * Others may be connecting to this task. The service says so: one that was removed, or that has no network of its own and
 * no port, leaves its tasks without clients to wait for, and the manager will not speak of them.
 */
export const hasClients = (task: Task, { services, published }: Services): boolean =>
  task.serviceId !== "" &&
  (published.has(`publish/${task.serviceId}`) ||
    task.attachments.some((a) => services.has(`service/${a.networkId}/${task.serviceId}`)));

/** It has been a backend, must not be one any more, and has not been given all of its time: `sinceMs` after the request. */
export const mayWait = (task: Task, state: TaskState, sinceMs: number, services: Services): boolean =>
  state === TaskState.TASK_RUNNING && sinceMs < drainMsOf(task) && hasClients(task, services);
