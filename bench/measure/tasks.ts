// What a service's tasks do, as the watch stream tells it: nothing here polls.

import { EndpointMode, NetworkSpec, ServiceSpec, type Task, TaskState } from "#proto/gen/types.ts";
import type { Control } from "./cluster.ts";

const LIMIT_MS = 180_000;

/** Room for 300 tasks, those before them included. */
const SUBNET = "10.77.0.0/20";

export type TaskWatch = {
  /** Milliseconds (of performance.now) at which the condition over all tasks of the service held for the first time. */
  until(what: string, holds: (tasks: readonly Task[]) => boolean, serviceId: string): Promise<number>;
  close(): void;
};

export const isRunning = (task: Task): boolean => task.status?.state === TaskState.TASK_RUNNING;
export const hasEnded = (task: Task): boolean => (task.status?.state ?? 0) > TaskState.TASK_RUNNING;

export const watchTasks = async (control: Control): Promise<TaskWatch> => {
  const tasks = new Map<string, Task>();
  const abort = new AbortController();
  let check = (): void => {};
  let fail = (_: unknown): void => {};
  const stream = control.watch(
    { selectors: [{ table: "task", id: "", serviceId: "", nodeId: "" }] },
    { signal: abort.signal },
  );
  const iterator = stream[Symbol.asyncIterator]();
  await iterator.next();
  for (const task of (await control.listTasks({ filters: [] })).tasks) tasks.set(task.id, task);
  void (async () => {
    for (let m = await iterator.next(); !m.done; m = await iterator.next()) {
      for (const { action, object } of m.value.events) {
        if (object?.object?.$case !== "task") continue;
        const task = object.object.value;
        if (action === "remove") tasks.delete(task.id);
        else tasks.set(task.id, task);
      }
      check();
    }
  })().catch((error) => fail(error));
  return {
    until: (what, holds, serviceId) =>
      new Promise((resolve, reject) => {
        fail = reject;
        const mine = () => [...tasks.values()].filter((t) => t.serviceId === serviceId);
        const limit = setTimeout(() => {
          check = () => {};
          const states = Map.groupBy(mine(), (t) => `${t.desiredState}/${t.status?.state} ${t.status?.error}`);
          const counts = [...states].map(([state, list]) => `${list.length} × ${state}`).join(", ");
          reject(new Error(`not within ${LIMIT_MS} ms: ${what} (${counts})`));
        }, LIMIT_MS);
        check = () => {
          if (!holds(mine())) return;
          check = () => {};
          clearTimeout(limit);
          resolve(performance.now());
        };
        check();
      }),
    close: () => abort.abort(),
  };
};

export const createOverlay = async (control: Control, name: string): Promise<string> => {
  const ipam = [{ subnet: SUBNET }];
  const spec = NetworkSpec.fromPartial({ annotations: { name }, driver: "overlay", ipv4: true, ipam });
  return (await control.createNetwork({ spec })).network!.id;
};

/** Tasks that do nothing but be there, on one overlay network. */
export const sleepers = (name: string, networkId: string, replicas: number): ServiceSpec =>
  ServiceSpec.fromPartial({
    annotations: { name },
    replicas,
    endpointMode: EndpointMode.VIP,
    task: {
      // A shell would not die of SIGTERM as the first process of its namespace; neither would sleep.
      container: { image: "localhost/busybox:1", args: ["sleep", "infinity"], stopSignal: "SIGKILL" },
      networks: [{ target: networkId }],
    },
  });
