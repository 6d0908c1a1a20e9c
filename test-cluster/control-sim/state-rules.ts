// What must hold after each command, from the events of the reference alone.
import { hasEnded, isLeaving, isLive, isLost, isRunning, observed } from "#control-plane/orchestrator/task-life.ts";
import type { State, StateEvent } from "#control-plane/state/types.ts";
import { type Node, RestartCondition, type Service, type Task, TaskState, UpdateOrder } from "#proto/gen/types.ts";
import { HeldThings } from "#test-cluster/control-sim/held.ts";
import type { Commit } from "#test-cluster/control-sim/reference.ts";

const mayOverlap = (service: Service | undefined): boolean =>
  [service?.spec, service?.previousSpec].some(
    (spec) => spec?.update?.order === UpdateOrder.START_FIRST || spec?.rollback?.order === UpdateOrder.START_FIRST,
  );

/**
 * The leader decides on the state before its command: what others wrote within so many versions, it may not have seen. Versions are
 * checked of what is written, not of what is read.
 */
const IN_FLIGHT = 20;

type TaskEvent = Extract<StateEvent, { table: "task" }>;

export class StateRules {
  /** Task -> those of its slot beside which it may run: on lost nodes, or start-first. */
  readonly beside = new Map<string, Set<string>>();
  /** `op` labels and variables of everything that was ever committed. */
  readonly marks = new Set<string>();
  readonly #held: HeldThings;
  readonly #state: State;
  readonly #violate: (property: string, detail: string) => void;
  /** Tasks that are no more: their ids never come back. */
  readonly #gone = new Set<string>();

  constructor(state: State, violate: (property: string, detail: string) => void) {
    this.#state = state;
    this.#violate = violate;
    this.#held = new HeldThings(violate);
  }

  committed({ command, batch }: Commit): void {
    this.#versions({ command, batch });
    this.#held.update(batch.events, command.time);
    for (const event of batch.events) {
      this.#mark(event);
      if (event.table === "task") this.#task(event);
    }
  }

  #versions({ command, batch }: Commit): void {
    if (command.changes.length !== batch.events.length)
      this.#violate(
        "a command is applied as a whole",
        `${batch.index}: ${batch.events.length} of ${command.changes.length}`,
      );
    for (const [i, { ifVersion, table, id }] of command.changes.entries()) {
      const { previous } = batch.events[i]!;
      const version = previous?.meta?.version ?? 0;
      if (version !== ifVersion)
        this.#violate(
          "nobody overwrites what they have not seen",
          `${table}/${id}: ${ifVersion} was read, it is ${version}`,
        );
    }
  }

  #mark({ table, object, action }: StateEvent): void {
    if (action === "remove") return;
    const note = (mark: string | undefined): void => void (mark !== undefined && this.marks.add(mark));
    if (table === "service") note((object as Service).spec?.task?.container?.env.op);
    if (table === "task") note((object as Task).spec?.container?.env.op);
    if (table === "network" || table === "node")
      note((object as { spec?: { annotations?: { labels: Record<string, string> } } }).spec?.annotations?.labels.op);
  }

  #task({ object: task, previous, action }: TaskEvent): void {
    if (this.#gone.has(task.id)) this.#violate("an id is used once", `task ${task.id}`);
    if (action === "remove") {
      this.#gone.add(task.id);
      this.beside.delete(task.id);
      // Of a node that was removed it is an orphan within the same command.
      if (task.nodeId !== "" && !hasEnded(task) && this.#state.get("node", task.nodeId) !== undefined)
        this.#violate("a task is deleted when it has ended", task.id);
      return;
    }
    if (observed(task) < (previous?.status?.state ?? 0))
      this.#violate("states never go back", `task ${task.id}: ${previous?.status?.state} to ${observed(task)}`);
    if (task.desiredState < (previous?.desiredState ?? 0))
      this.#violate(
        "desired states never go back",
        `task ${task.id}: ${previous?.desiredState} to ${task.desiredState}`,
      );
    if (previous !== undefined && previous.nodeId !== "" && previous.nodeId !== task.nodeId)
      this.#violate("a task has one node", `task ${task.id}: ${previous.nodeId}, then ${task.nodeId}`);
    if (task.serviceId === "") return;
    if (task.desiredState === TaskState.TASK_RUNNING && previous?.desiredState !== TaskState.TASK_RUNNING)
      this.#promoted(task);
    if (task.desiredState === TaskState.TASK_SHUTDOWN && previous !== undefined && isRunning(previous))
      this.#leaves(task);
  }

  #isNew(object: Node | Service | undefined): boolean {
    return object !== undefined && this.#state.index - (object.meta?.version ?? 0) <= IN_FLIGHT;
  }

  #promoted(task: Task): void {
    const overlap = mayOverlap(this.#state.get("service", task.serviceId));
    const beside = new Set<string>();
    for (const other of this.#state.tasksOfService(task.serviceId)) {
      if (other.id === task.id || other.slot !== task.slot || hasEnded(other)) continue;
      const node = this.#state.get("node", other.nodeId);
      const lost = isLost(node) || this.#isNew(node);
      if (isLeaving(other) && !lost)
        this.#violate("a slot is left before the next task starts", `${task.id} starts before ${other.id} has ended`);
      if (lost || (overlap && isLive(other))) beside.add(other.id);
    }
    this.beside.set(task.id, beside);
  }

  /** Of a start-first service a running task leaves its slot only when another runs there. */
  #leaves(task: Task): void {
    const service = this.#state.get("service", task.serviceId);
    const order = service?.spec?.update?.order;
    if (service === undefined || service.pendingDelete || order !== UpdateOrder.START_FIRST) return;
    if (service.spec?.rollback?.order !== UpdateOrder.START_FIRST) return;
    // What shall not be started twice is ended and not moved.
    if (task.spec?.restart?.condition !== RestartCondition.RESTART_ANY) return;
    const node = this.#state.get("node", task.nodeId);
    if (hasEnded(task) || isLost(node) || this.#isNew(node) || this.#isNew(service)) return;
    const runs = (other: Task): boolean => other.slot === task.slot && other.id !== task.id && isRunning(other);
    if (!this.#state.tasksOfService(task.serviceId).some(runs))
      this.#violate("start-first: the old task stays until the new one runs", `task ${task.id}`);
  }
}
