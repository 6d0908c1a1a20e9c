// The orchestrator of replicated services: which tasks there shall be, and what each of them is wanted to do. It decides
// from the state alone: whatever it must remember is in the tasks, their history and service.update_status.
import type { Tx, WriteContext } from "#control-plane/state/types.ts";
import { TaskState } from "#proto/gen/types.ts";
import { tendContainers } from "./containers.ts";
import { drain } from "./drain.ts";
import type { Pass } from "./pass.ts";
import { promote } from "./promote.ts";
import { reapHistory, reapRemoved } from "./reap.ts";
import { orphanTasks, restartTasks } from "./restart.ts";
import { scale } from "./scale.ts";
import { update } from "./update.ts";
import { endTask } from "./write-task.ts";

/** Ids of what changed since the last run; a task's change makes its service dirty (containers of their own: the id ""). */
export type Dirty = { readonly services: Iterable<string>; readonly nodes: Iterable<string> } | "all";

export type Orchestrated = {
  /** The earliest of `wakes`. */
  readonly wakeAt?: number;
  /** Service id -> when it must be dirty again (ms) if nothing happens earlier. Only for services of this run. */
  readonly wakes: ReadonlyMap<string, number>;
  /** The services that were looked at. */
  readonly services: ReadonlySet<string>;
  /** Ids of the tasks that were made: they need addresses and a node. */
  readonly created: readonly string[];
};

export const orchestrate = (tx: Tx, outer: WriteContext, dirty: Dirty): Orchestrated => {
  const created: string[] = [];
  const newId = (): string => {
    const id = outer.newId();
    created.push(id);
    return id;
  };
  const ctx = { now: outer.now, newId };
  const services = concerned(tx, dirty);
  const wakes = new Map<string, number>();
  for (const id of services) {
    const wake = (at: number): void => void wakes.set(id, Math.min(at, wakes.get(id) ?? at));
    orchestrateService(tx, ctx, id, wake);
  }
  const wakeAt = wakes.size === 0 ? undefined : Math.min(...wakes.values());
  return { wakes, services, created, ...(wakeAt === undefined ? {} : { wakeAt }) };
};

const concerned = (tx: Tx, dirty: Dirty): Set<string> => {
  const found = new Set<string>();
  if (dirty === "all") {
    for (const service of tx.all("service")) found.add(service.id);
    for (const task of tx.all("task")) found.add(task.serviceId);
    return found;
  }
  for (const id of dirty.services) found.add(id);
  for (const id of dirty.nodes) for (const task of tx.tasksOfNode(id)) found.add(task.serviceId);
  return found;
};

const orchestrateService = (tx: Tx, ctx: WriteContext, id: string, wake: (at: number) => void): void => {
  const tasks = () => tx.tasksOfService(id);
  const service = tx.get("service", id);
  orphanTasks({ tx, ctx, tasks, wake });
  if (id !== "" && (service === undefined || service.pendingDelete))
    for (const task of tasks()) endTask(tx, task, TaskState.TASK_REMOVE);
  if (id === "") tendContainers({ tx, ctx, tasks, wake });
  reapRemoved(tx, tasks());
  if (service === undefined) return;
  if (service.pendingDelete) {
    if (tasks().length === 0) tx.delete("service", id);
    return;
  }
  const pass: Pass = { tx, ctx, service, tasks, wake };
  restartTasks(pass);
  drain(pass);
  scale(pass);
  update(pass);
  promote(pass);
  reapHistory(pass);
};
