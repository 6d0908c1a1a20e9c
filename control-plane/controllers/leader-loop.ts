// The leader's loop: every change of the state makes its services and nodes dirty; one pass then runs orchestrator,
// allocator and scheduler over one transaction and proposes what they wrote as one command. While a proposal is in
// flight changes gather, so 300 new tasks are created, addressed and assigned in one log entry.
import type { Clock } from "#base/clock.ts";
import type { Logger } from "#base/log.ts";
import { allocate } from "#control-plane/allocator/allocate.ts";
import { orchestrate } from "#control-plane/orchestrator/orchestrate.ts";
import { observed } from "#control-plane/orchestrator/task-life.ts";
import { schedule } from "#control-plane/scheduler/schedule.ts";
import type { ApplyResult, State, StateBatch, WriteContext } from "#control-plane/state/types.ts";
import type { Change, Command } from "#proto/gen/store.ts";
import { type Task, TaskState } from "#proto/gen/types.ts";
import { bundlesOf } from "./bundles.ts";
import { MOST_CHANGES, splitChanges } from "./split-changes.ts";

export type LeaderLoopOptions = {
  readonly replicated: {
    readonly state: State;
    context(): WriteContext;
    /** Resolves once the command was applied here; rejects when it could not be (leadership lost, no quorum). */
    propose(command: Command): Promise<{ readonly result: ApplyResult }>;
  };
  readonly clock: Clock;
  readonly logger: Logger;
};

export type LeaderLoop = { start(): void; stop(): void };

/** A failed proposal is repeated after this time, from the state as it is then. */
const RETRY_MS = 500;

/**
 * Agents write statuses all the time, and one changed task refuses a whole command. After conflicts the commands become
 * smaller, down to one bundle, so that most get through. Each bundle stands for itself: the next pass repairs the rest.
 */
const mostChanges = (conflicts: number): number => Math.max(1, MOST_CHANGES >> (4 * Math.min(conflicts, 4)));

export const createLeaderLoop = ({ replicated, clock, logger }: LeaderLoopOptions): LeaderLoop => {
  const { state } = replicated;
  const services = new Set<string>();
  const nodes = new Set<string>();
  /** Tasks without a node: NEW or PENDING. */
  const unplaced = new Set<string>();
  /** Service id -> when the orchestrator asked to see it again. */
  const wakes = new Map<string, number>();
  let everything = true;
  /** Networks have changed: there may be room now for tasks that wait for an address. */
  let room = false;
  let allocatorWake = Number.POSITIVE_INFINITY;
  /** In a row. */
  let conflicts = 0;
  let generation = 0;
  let unwatch: (() => void) | undefined;
  let cancelPass: (() => void) | undefined;
  let cancelTimer: (() => void) | undefined;
  let inFlight = false;

  const isUnplaced = (task: Task): boolean => observed(task) < TaskState.TASK_ASSIGNED;

  const note = (batch: StateBatch): void => {
    if (batch.restored) everything = true;
    for (const event of batch.events) {
      if (event.table === "service") services.add(event.object.id);
      else if (event.table === "node") nodes.add(event.object.id);
      else if (event.table === "cluster") everything = true;
      else if (event.table === "network") room = true;
      else if (event.table === "task") {
        services.add(event.object.serviceId);
        if (event.action !== "remove" && isUnplaced(event.object)) unplaced.add(event.object.id);
        else unplaced.delete(event.object.id);
      }
    }
    soon();
  };

  const soon = (): void => {
    if (inFlight || cancelPass !== undefined) return;
    cancelPass = clock.after(0, () => {
      cancelPass = undefined;
      void pass();
    });
  };

  const pass = async (): Promise<void> => {
    const mine = generation;
    inFlight = true;
    try {
      const commands = decide();
      let conflict = false;
      for (const command of commands) {
        const { result } = await replicated.propose(command);
        if (mine !== generation) return;
        if (result.ok) continue;
        logger.debug("state changed under the leader loop", {
          table: result.table,
          id: result.id,
          reason: result.reason,
        });
        conflict = true;
      }
      conflicts = conflict ? conflicts + 1 : 0;
      if (conflict) everything = true;
      inFlight = false;
      if (everything || room || services.size > 0 || nodes.size > 0) soon();
      else setTimer();
    } catch (error) {
      if (mine !== generation) return;
      logger.warn("leader loop failed, will retry", { error: error instanceof Error ? error.message : String(error) });
      everything = true;
      cancelTimer?.();
      cancelTimer = clock.after(RETRY_MS, () => {
        inFlight = false;
        soon();
      });
    }
  };

  /** One run of the pure parts over all that is dirty. */
  const decide = (): Command[] => {
    const ctx = replicated.context();
    for (const [id, at] of wakes) if (at <= ctx.now) services.add(id);
    if (everything) {
      unplaced.clear();
      for (const task of state.all("task")) if (isUnplaced(task)) unplaced.add(task.id);
    }
    const tx = state.begin();
    const result = orchestrate(tx, ctx, everything ? "all" : { services: new Set(services), nodes: new Set(nodes) });
    everything = false;
    room = false;
    services.clear();
    nodes.clear();
    for (const id of result.services) wakes.delete(id);
    for (const [id, at] of result.wakes) wakes.set(id, at);
    const waiting = [...unplaced, ...result.created];
    allocatorWake = allocate(tx, ctx, { tasks: waiting }).wakeAt ?? Number.POSITIVE_INFINITY;
    schedule(tx, ctx, { tasks: waiting });
    const bundles = (changes: readonly Change[]) => bundlesOf(changes, state);
    return splitChanges(tx.changes(), mostChanges(conflicts), bundles).map((changes) => ({
      id: ctx.newId(),
      time: ctx.now,
      changes,
    }));
  };

  const setTimer = (): void => {
    cancelTimer?.();
    cancelTimer = undefined;
    let at = allocatorWake;
    for (const wake of wakes.values()) at = Math.min(at, wake);
    if (at !== Number.POSITIVE_INFINITY) cancelTimer = clock.after(Math.max(at - clock.now(), 0), soon);
  };

  return {
    start: () => {
      if (unwatch !== undefined) return;
      everything = true;
      inFlight = false;
      unwatch = state.watch(note);
      soon();
    },
    stop: () => {
      generation++;
      unwatch?.();
      unwatch = undefined;
      cancelPass?.();
      cancelPass = undefined;
      cancelTimer?.();
      cancelTimer = undefined;
      services.clear();
      nodes.clear();
      unplaced.clear();
      wakes.clear();
    },
  };
};
