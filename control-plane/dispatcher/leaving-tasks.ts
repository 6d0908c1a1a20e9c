// From the state to drains: which tasks leave in a command, which nodes must take them out of their backends before, and
// what the tasks' own nodes are told. Pure but for what it tells.

import { hasEnded, isLeaving, isLost, isWanted } from "#control-plane/orchestrator/task-life.ts";
import type { ReadTx, StateEvent } from "#control-plane/state/types.ts";
import type { Assignment } from "#proto/gen/dispatcher.ts";
import type { Task } from "#proto/gen/types.ts";
import { createDrains, WITHOUT_SESSION } from "./drains.ts";

export const drainedKey = (taskId: string): string => `drained/${taskId}`;

export const drainedItem = (taskId: string): Assignment => ({
  key: drainedKey(taskId),
  item: { $case: "drained", value: { taskId } },
});

type Changes = { readonly put: readonly Assignment[]; readonly remove: readonly string[] };

export type LeavingTasks = {
  /** After each command, once `told` is what its nodes are told of it in the next message of their sessions. */
  update(events: readonly StateEvent[], told: ReadonlyMap<string, Changes>): void;
  applied(nodeId: string, sequence: number): void;
  /** The session is over. */
  lost(nodeId: string): void;
  /** A session begins: what the node's first view says besides the rest. */
  opened(nodeId: string): Assignment[];
  /** Down or removed. */
  giveUp(nodeId: string): void;
};

export type LeavingTasksOptions = {
  readonly state: ReadTx;
  /** Sequence of the last message of a node's session; undefined without one. */
  readonly sequenceOf: (nodeId: string) => number | undefined;
  readonly tell: (nodeId: string, changes: { put: Assignment[]; remove: string[] }) => void;
};

/** For a leader that begins: it knows of no session, and not what its predecessor has been told. */
export const trackLeavingTasks = ({ state, sequenceOf, tell }: LeavingTasksOptions): LeavingTasks => {
  const leaves = (taskId: string): boolean => {
    const task = state.get("task", taskId);
    return task !== undefined && isLeaving(task);
  };
  const drains = createDrains(leaves, (nodeId, taskId) => tell(nodeId, { put: [drainedItem(taskId)], remove: [] }));

  /** A service that is gone has nobody who may expect an answer: its tasks stop at once, and their nodes don't wait. */
  const isServed = (task: Task): boolean => {
    const service = state.get("service", task.serviceId);
    return service !== undefined && !service.pendingDelete;
  };

  /** Nodes that are looking for a leader were not told, and still have what they had. */
  const absent = (): string[] =>
    [...state.all("node")].filter((node) => !isLost(node) && sequenceOf(node.id) === undefined).map((node) => node.id);

  /** Whether this node may have these tasks of this service among its backends. */
  const mayHold = (nodeId: string, serviceId: string, tasks: readonly Task[]): boolean => {
    // A published port is served by every node.
    if ((state.get("service", serviceId)?.ports.length ?? 0) > 0) return true;
    const networks = new Set(tasks.flatMap((task) => task.attachments.map((a) => a.networkId)));
    return state
      .tasksOfNode(nodeId)
      .some((task) => !hasEnded(task) && task.attachments.some((a) => networks.has(a.networkId)));
  };

  const begin = (leaving: readonly Task[], told: ReadonlyMap<string, Changes>): void => {
    if (leaving.length === 0) return;
    const services = Map.groupBy(leaving, (task) => task.serviceId);
    const holders = new Map([...services.keys()].map((id) => [id, new Map<string, number>()]));
    for (const [nodeId, { put }] of told) {
      const sequence = sequenceOf(nodeId);
      if (sequence === undefined) continue;
      for (const { item } of put)
        if (item?.$case === "service" || item?.$case === "publish")
          holders.get(item.value.serviceId)?.set(nodeId, sequence + 1);
    }
    const silent = absent();
    for (const [serviceId, tasks] of services) {
      const holding = holders.get(serviceId)!;
      for (const nodeId of silent) if (mayHold(nodeId, serviceId, tasks)) holding.set(nodeId, WITHOUT_SESSION);
      drains.begin(tasks, holding);
    }
  };

  begin(
    [...state.all("task")].filter((task) => isLeaving(task) && task.nodeId !== "" && isServed(task)),
    new Map(),
  );

  return {
    update(events, told) {
      const leaving: Task[] = [];
      for (const { table, action, object, previous } of events) {
        if (table !== "task") continue;
        if (action === "remove" || hasEnded(object)) {
          if (drains.ended(object.id)) tell(object.nodeId, { put: [], remove: [drainedKey(object.id)] });
        } else if (previous !== undefined && isWanted(previous) && isLeaving(object) && isServed(object))
          leaving.push(object);
      }
      begin(leaving, told);
    },
    applied: drains.applied,
    lost: drains.lost,
    opened(nodeId) {
      drains.opened(nodeId);
      return drains.of(nodeId).map(drainedItem);
    },
    giveUp: drains.giveUp,
  };
};
