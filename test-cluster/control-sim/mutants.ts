// Deliberate faults, put into the product's sources one at a time while they are loaded. A simulator that does not find them is
// worth nothing.
import { readFileSync } from "node:fs";
import { registerHooks } from "node:module";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { FaultMix } from "#test-cluster/control-sim/fault-mix.ts";

export type Mutant = {
  readonly name: string;
  readonly file: string;
  /** Occurs once in the file. */
  readonly from: string;
  readonly to: string;
  /** Makes the faults frequent that a rare one needs. */
  readonly faults?: Partial<FaultMix>;
};

const ROOT = join(import.meta.dirname, "../..");

export const MUTANTS: readonly Mutant[] = [
  {
    name: "a new leader does not expect the nodes that were up",
    file: "control-plane/dispatcher/dispatcher.ts",
    from: "heartbeats.expect(expected, formerLeader);",
    to: "",
    faults: {
      managers: 3,
      workers: 4,
      heartbeatMs: 1_000,
      powerOffEvery: 4_000,
      agentDownMs: 20_000,
      managerPauseEvery: 6_000,
    },
  },
  {
    name: "a released address leaves no lease",
    file: "control-plane/state/transaction.ts",
    from: `if (table === "task" || table === "service" || table === "network") this.#rest(old);`,
    to: "",
  },
  {
    name: "an agent accepts a gap in its view",
    file: "node-agent/session/view.ts",
    from: "if (!complete && message.appliesTo !== view.sequence)",
    to: "if (false)",
    faults: { lossRate: 0.05 },
  },
  {
    name: "a task that has a node is given another",
    file: "control-plane/orchestrator/promote.ts",
    from: 'else tx.put("task", { ...task, desiredState: TaskState.TASK_RUNNING });',
    to: `else tx.put("task", { ...task, nodeId: [...tx.all("node")][0]!.id, desiredState: TaskState.TASK_RUNNING });`,
  },
  {
    name: "a watcher misses a change",
    file: "control-plane/api/watch.ts",
    from: "if (response.events.length > 0) queue.push(response);",
    to: "if (response.events.length > 0 && queue.size < 1) queue.push(response);",
    faults: { watchers: 2 },
  },
  {
    name: "a watch that goes on lacks what happened in between",
    file: "control-plane/api/watch.ts",
    from: "for (const batch of missed ?? []) {",
    to: "for (const batch of missed?.slice(1) ?? []) {",
    faults: { watchers: 2, watcherLeavesEvery: 2_000 },
  },
  {
    name: "a demoted manager stays in the quorum",
    file: "control-plane/manager/membership.ts",
    from: 'if (batch.events.some((e) => e.table === "node")) void reconcile();',
    to: "void [batch];",
    faults: { roleEvery: 3_000 },
  },
  {
    name: "a member forgets who was removed",
    file: "control-plane/raft-host/loop.ts",
    from: 'type === "conf" && index > this.#secured',
    to: 'type === "conf" && index > this.#secured + 1e9',
    faults: { managers: 3, roleEvery: 2_000, managerCrashEvery: 3_000, aimAtLeader: 0.9, managerDownMs: 300 },
  },
  {
    name: "apply ignores versions",
    file: "control-plane/state/apply.ts",
    from: "if (version !== change.ifVersion) {",
    to: "if (version !== change.ifVersion && change.ifVersion === 0) {",
  },
  {
    name: "apply ignores who has an address",
    file: "control-plane/state/apply.ts",
    from: "if (clash !== undefined) return { result: clash, events: [] };",
    to: "",
  },
  {
    name: "a slot's next task does not wait for the one before",
    file: "control-plane/orchestrator/promote.ts",
    from: 'if (isLeaving(task) && !isLost(tx.get("node", task.nodeId))) blocked.add(task.slot);',
    to: "void [isLeaving, isLost];",
  },
  {
    name: "a view keeps what a node has left",
    file: "control-plane/node-view/node-views.ts",
    from: "tell(nodeId).remove.push(...keys);",
    to: "",
  },
  {
    name: "an agent keeps what it is told to drop",
    file: "node-agent/session/view.ts",
    from: "items.delete(key);",
    to: "",
  },
  {
    name: "a session begins without a read barrier",
    file: "control-plane/dispatcher/dispatcher.ts",
    from: "await replicated.barrier();",
    to: "",
    faults: {
      ...{
        managers: 5,
        workers: 4,
        partitionEvery: 1_000,
        partitionMs: 2_000,
        managerPauseEvery: 2_000,
        aimAtLeader: 0.9,
      },
      ...{ resetEvery: 500, agentCrashEvery: 1_000, agentDownMs: 100, operationEvery: 150, roleEvery: 0 },
    },
  },
  {
    name: "an agent saves a status after it has told it",
    file: "node-agent/reconcile/task-runner.ts",
    from: "saveTask(tasksDir, { ...entry.task, status: entry.status });\n    if (entry.assigned)",
    to: "if (entry.status.state < TaskState.TASK_RUNNING) saveTask(tasksDir, { ...entry.task, status: entry.status });\n    if (entry.assigned)",
    faults: { agentCrashEvery: 2_000, agentDownMs: 300 },
  },
  {
    name: "a command is torn into single changes after conflicts",
    file: "control-plane/controllers/leader-loop.ts",
    from: "mostChanges(conflicts), bundles)",
    to: "mostChanges(conflicts))",
    faults: {
      operationEvery: 100,
      agentWorkMs: 20,
      failRate: 0.5,
      failAfterMs: 500,
      managers: 3,
      delayMs: 20,
      syncMs: 8,
    },
  },
  {
    name: "reads do not wait for what was committed before",
    file: "control-plane/api/control-service.ts",
    from: "await log.readBarrier();\n    return from(state);",
    to: "return from(state);",
    faults: { managers: 3, partitionEvery: 3_000, managerPauseEvery: 3_000, aimAtLeader: 0.9, operationEvery: 100 },
  },
];

const sourceOf = (mutant: Mutant): string => readFileSync(join(ROOT, mutant.file), "utf8");

/** Why the fault can't be put in any more: the code has changed. */
export const isStale = (mutant: Mutant): boolean => sourceOf(mutant).split(mutant.from).length !== 2;

/** From now on the file is loaded with its fault. */
export const plant = (mutant: Mutant): void => {
  registerHooks({
    load(url, context, next) {
      if (!url.startsWith("file:") || fileURLToPath(url) !== join(ROOT, mutant.file)) return next(url, context);
      const source = sourceOf(mutant).replace(mutant.from, () => mutant.to);
      return { format: "module-typescript", source, shortCircuit: true };
    },
  });
};
