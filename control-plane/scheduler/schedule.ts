// PENDING -> ASSIGNED: gives each task a node. A task that fits nowhere stays PENDING and says why in its status; it is
// tried again whenever the caller passes it in, which it does after every change of nodes and tasks.

import { isWanted, observed } from "#control-plane/orchestrator/task-life.ts";
import type { Tx, WriteContext } from "#control-plane/state/types.ts";
import type { Task } from "#proto/gen/types.ts";
import { TaskState } from "#proto/gen/types.ts";
import { aimAt, type Candidate, candidates, hash, take } from "./candidate.ts";
import { countingFilters, type Filter, fixedFilters, type Wanted } from "./filters.ts";
import { spread } from "./spread.ts";

/** Places those of `tasks` (ids) that are PENDING and wanted; others are passed over. */
export const schedule = (tx: Tx, ctx: WriteContext, { tasks }: { readonly tasks: Iterable<string> }): void => {
  const waiting: Task[] = [];
  for (const id of tasks) {
    const task = tx.get("task", id);
    if (task !== undefined && isWanted(task) && observed(task) === TaskState.TASK_PENDING) waiting.push(task);
  }
  if (waiting.length === 0) return;
  const nodes = candidates(tx);
  const groups = Map.groupBy(waiting, (task) =>
    task.serviceId === "" ? `task/${task.id}` : `${task.serviceId}/${task.specVersion}/${JSON.stringify(task.ports)}`,
  );
  for (const group of groups.values()) placeGroup(tx, ctx, nodes, group);
};

/** Tasks of one group have the same service, the same spec and want the same ports, so what holds for the first holds for all. */
const placeGroup = (tx: Tx, ctx: WriteContext, nodes: readonly Candidate[], group: readonly Task[]): void => {
  const first = group[0];
  const spec = first?.spec;
  if (first === undefined || spec === undefined) return;
  const networks = spec.networks.flatMap(({ target }) => tx.get("network", target) ?? []);
  const wanted: Wanted = { spec, ports: first.ports, networks };
  aimAt(nodes, tx, first.serviceId, ctx.now);
  const refused = new Map<Filter, number>();
  const refuse = (filter: Filter): void => void refused.set(filter, (refused.get(filter) ?? 0) + 1);
  const fit = nodes.filter((node) => accepted(fixedFilters, node, wanted, refuse));
  const order = spread(fit, spec.placement?.spread ?? []);
  for (const task of [...group].sort((a, b) => a.slot - b.slot || (a.id < b.id ? -1 : 1))) {
    const target = order.next((node) => accepted(countingFilters, node, wanted, refuse));
    if (target === undefined) {
      explain(tx, ctx, task, nodes.length === 0 ? "the cluster has no node" : reasons(refused, wanted));
      continue;
    }
    const placed = { ...task, ports: target.ports.choose(first.ports, hash(task.id)) ?? first.ports };
    take(target, placed);
    target.tasks++;
    target.serviceTasks++;
    tx.put("task", {
      ...placed,
      nodeId: target.node.id,
      status: { ...blankStatus, state: TaskState.TASK_ASSIGNED, at: ctx.now, message: "assigned" },
    });
  }
};

const blankStatus = { message: "", error: "", exitCode: 0, pid: 0, containerId: "" };

const accepted = (
  filters: readonly Filter[],
  node: Candidate,
  wanted: Wanted,
  refuse: (filter: Filter) => void,
): boolean => {
  const refusing = filters.find((filter) => !filter.accepts(node, wanted));
  if (refusing !== undefined) refuse(refusing);
  return refusing === undefined;
};

const reasons = (refused: ReadonlyMap<Filter, number>, wanted: Wanted): string =>
  [...fixedFilters, ...countingFilters]
    .filter((filter) => refused.has(filter))
    .map((filter) => filter.explain(refused.get(filter) ?? 0, wanted))
    .join("; ");

const explain = (tx: Tx, ctx: WriteContext, task: Task, reason: string): void => {
  const error = `no suitable node (${reason})`;
  if (task.status?.error === error) return;
  tx.put("task", {
    ...task,
    status: {
      ...blankStatus,
      state: TaskState.TASK_PENDING,
      at: ctx.now,
      message: "waiting for a suitable node",
      error,
    },
  });
};
