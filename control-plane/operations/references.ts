// How users name things: id, name, or the beginning of an id. A name that several objects have is refused, never guessed.
import { refuse } from "#base/errors.ts";
import type { ReadTx, TableName, Tables } from "#control-plane/state/types.ts";
import type { Network, Node, Service, Task } from "#proto/gen/types.ts";

const pick = <O extends { id: string }>(kind: string, ref: string, found: readonly O[], hint: string): O => {
  const [first, ...others] = found;
  if (first === undefined) throw refuse("not_found", kind, `there is no ${kind} ${JSON.stringify(ref)}`, hint);
  if (others.length > 0)
    throw refuse(
      "invalid",
      kind,
      `${JSON.stringify(ref)} fits ${found.length} of them: ${found
        .slice(0, 5)
        .map((o) => o.id)
        .join(", ")}`,
      "Give more characters of the id",
    );
  return first;
};

const byIdPrefix = <T extends TableName>(state: ReadTx, table: T, ref: string): Tables[T][] => {
  if (ref === "") return [];
  const found: Tables[T][] = [];
  for (const object of state.all(table)) if (object.id.startsWith(ref)) found.push(object);
  return found;
};

/** A service by id, name or unique beginning of its id. One that is being removed is still found by name. */
export const resolveService = (state: ReadTx, ref: string): Service => {
  const exact = state.get("service", ref) ?? state.serviceByName(ref);
  return exact ?? pick("service", ref, byIdPrefix(state, "service", ref), "See `tsctl service ls`");
};

export const resolveNetwork = (state: ReadTx, ref: string): Network => {
  const exact = state.get("network", ref) ?? state.networkByName(ref);
  return exact ?? pick("network", ref, byIdPrefix(state, "network", ref), "See `tsctl network ls`");
};

/** A node by id, name, hostname or unique beginning of its id. */
export const resolveNode = (state: ReadTx, ref: string): Node => {
  const exact = state.get("node", ref);
  if (exact !== undefined) return exact;
  const named = [...state.all("node")].filter(
    (n) => ref !== "" && (n.spec?.annotations?.name === ref || n.description?.hostname === ref),
  );
  return pick("node", ref, named.length > 0 ? named : byIdPrefix(state, "node", ref), "See `tsctl node ls`");
};

/** The newest task of a slot: what "web.3" means. */
const newestOfSlot = (state: ReadTx, ref: string): Task | undefined => {
  const match = /^(.+)\.(\d+)$/.exec(ref);
  if (match === null) return undefined;
  const service = state.serviceByName(match[1]!) ?? state.get("service", match[1]!);
  if (service === undefined) return undefined;
  const slot = Number(match[2]);
  let newest: Task | undefined;
  for (const task of state.tasksOfService(service.id)) {
    if (task.slot !== slot) continue;
    const later = (task.meta?.createdAt ?? 0) - (newest?.meta?.createdAt ?? 0);
    if (newest === undefined || later > 0 || (later === 0 && task.desiredState < newest.desiredState)) newest = task;
  }
  return newest;
};

/** A task by id, name of a container of its own, "service.slot" (its newest task) or unique beginning of its id. */
export const resolveTask = (state: ReadTx, ref: string): Task =>
  state.get("task", ref) ??
  state.containerByName(ref) ??
  newestOfSlot(state, ref) ??
  pick("task", ref, byIdPrefix(state, "task", ref), "See `tsctl ps`");

/** The tasks whose output a reference means: all of a service, or one task. */
export const resolveLogTasks = (state: ReadTx, ref: string): readonly Task[] => {
  const service = state.get("service", ref) ?? state.serviceByName(ref);
  const container = state.containerByName(ref);
  if (service !== undefined && container !== undefined)
    throw refuse(
      "invalid",
      "service or task",
      `${JSON.stringify(ref)} is the name of a service and of a container`,
      `Give the id: ${service.id} is the service, ${container.id} the container`,
    );
  if (service !== undefined) return state.tasksOfService(service.id);
  const task = state.get("task", ref) ?? container ?? newestOfSlot(state, ref);
  if (task !== undefined) return [task];
  const services = byIdPrefix(state, "service", ref);
  const tasks = byIdPrefix(state, "task", ref);
  const found = pick("service or task", ref, [...services, ...tasks], "See `tsctl service ls`");
  return services.length > 0 ? state.tasksOfService(found.id) : tasks;
};
