// What the scheduler knows of a node during one pass: counted once, then kept up to date with each placement.

import { changedAt, hasEnded, isLive, observed } from "#control-plane/orchestrator/task-life.ts";
import type { ReadTx } from "#control-plane/state/types.ts";
import type { Node, Task } from "#proto/gen/types.ts";
import { TaskState } from "#proto/gen/types.ts";
import { HostPorts, type InMesh } from "./host-ports.ts";

export type Candidate = {
  readonly node: Node;
  freeCpus: number;
  freeMemory: number;
  readonly ports: HostPorts;
  /** Live tasks of all services. */
  tasks: number;
  /** Live tasks of the service that is being placed. */
  serviceTasks: number;
  /** The service failed here so often lately that other nodes are tried first. */
  failing: boolean;
  /** Breaks ties: differs for each service, so that small services don't all begin on the same node. */
  rank: number;
};

/** This many failures of a service on a node within the window put the node last. */
const FAILURES = 5;
const FAILURE_WINDOW_MS = 5 * 60_000;

export const candidates = (tx: ReadTx): Candidate[] => {
  const found: Candidate[] = [];
  const inMesh: InMesh = (protocol, published) => tx.serviceByPort(protocol, published) !== undefined;
  for (const node of tx.all("node")) {
    const tasks = tx.tasksOfNode(node.id);
    const candidate: Candidate = {
      node,
      freeCpus: node.description?.resources?.nanoCpus ?? 0,
      freeMemory: node.description?.resources?.memoryBytes ?? 0,
      ports: new HostPorts(node, tasks, inMesh),
      tasks: 0,
      serviceTasks: 0,
      failing: false,
      rank: 0,
    };
    for (const task of tasks) {
      if (hasEnded(task)) continue;
      take(candidate, task);
      if (isLive(task)) candidate.tasks++;
    }
    found.push(candidate);
  }
  return found;
};

/** Reservation and ports count until the task has ended, also while it is told to leave. */
export const take = (candidate: Candidate, task: Task): void => {
  candidate.freeCpus -= task.spec?.reservations?.nanoCpus ?? 0;
  candidate.freeMemory -= task.spec?.reservations?.memoryBytes ?? 0;
  candidate.ports.add(task);
};

/** Sets the fields that depend on the service. A standalone task (no service id) sees no others of its kind. */
export const aimAt = (found: readonly Candidate[], tx: ReadTx, serviceId: string, now: number): void => {
  const counts = new Map<string, number>();
  const failures = new Map<string, number>();
  for (const task of serviceId === "" ? [] : tx.tasksOfService(serviceId)) {
    if (task.nodeId === "") continue;
    if (isLive(task)) counts.set(task.nodeId, (counts.get(task.nodeId) ?? 0) + 1);
    const state = observed(task);
    const failed = state === TaskState.TASK_FAILED || state === TaskState.TASK_REJECTED;
    if (failed && changedAt(task) > now - FAILURE_WINDOW_MS)
      failures.set(task.nodeId, (failures.get(task.nodeId) ?? 0) + 1);
  }
  for (const candidate of found) {
    candidate.serviceTasks = counts.get(candidate.node.id) ?? 0;
    candidate.failing = (failures.get(candidate.node.id) ?? 0) >= FAILURES;
    candidate.rank = hash(serviceId + candidate.node.id);
  }
};

/** FNV-1a, 32 bits. */
export const hash = (text: string): number => {
  let value = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) value = Math.imul(value ^ text.charCodeAt(i), 0x01000193);
  return value >>> 0;
};
