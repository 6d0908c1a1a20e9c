// Filters of lists: every key must match, values of one key are alternatives. An unknown key is refused, never ignored.
import { refuse } from "#base/errors.ts";
import { hasEnded } from "#control-plane/state/keys.ts";
import type { ReadTx } from "#control-plane/state/types.ts";
import type { Filter } from "#proto/gen/control.ts";
import {
  type Network,
  type Node,
  NodeAvailability,
  NodeRole,
  type Service,
  type Task,
  TaskState,
} from "#proto/gen/types.ts";

type Matcher<O> = (object: O, value: string) => boolean;
type Matchers<O> = Readonly<Record<string, Matcher<O>>>;

const select = <O>(objects: Iterable<O>, filters: readonly Filter[], matchers: Matchers<O>): O[] => {
  const tests = filters.map(({ key, values }) => {
    const matcher = Object.hasOwn(matchers, key) ? matchers[key] : undefined;
    if (matcher === undefined)
      throw refuse(
        "invalid",
        `filter ${key}`,
        "there is no such filter",
        `Known are: ${Object.keys(matchers).join(", ")}`,
      );
    return (object: O): boolean => values.some((value) => matcher(object, value));
  });
  return [...objects].filter((object) => tests.every((test) => test(object)));
};

/** `text` is KEY (it is there, whatever its value) or KEY=VALUE. */
export const hasLabel = (labels: Record<string, string> | undefined, text: string): boolean => {
  const at = text.indexOf("=");
  if (at < 0) return labels !== undefined && Object.hasOwn(labels, text);
  return labels?.[text.slice(0, at)] === text.slice(at + 1);
};
const idMatches = (object: { id: string }, value: string): boolean => value !== "" && object.id.startsWith(value);

export const selectNodes = (state: ReadTx, filters: readonly Filter[]): Node[] =>
  select<Node>(state.all("node"), filters, {
    id: idMatches,
    name: (n, v) => (n.spec?.annotations?.name ?? "").startsWith(v) || (n.description?.hostname ?? "").startsWith(v),
    role: (n, v) => v === (n.spec?.role === NodeRole.MANAGER ? "manager" : "worker"),
    availability: (n, v) => n.spec?.availability === NodeAvailability[v.toUpperCase() as keyof typeof NodeAvailability],
    "node.label": (n, v) => hasLabel(n.spec?.annotations?.labels, v),
    label: (n, v) => hasLabel(n.description?.engineLabels, v),
  });

export const selectNetworks = (state: ReadTx, filters: readonly Filter[]): Network[] =>
  select<Network>(state.all("network"), filters, {
    id: idMatches,
    name: (n, v) => (n.spec?.annotations?.name ?? "").includes(v),
    driver: (n, v) => n.spec?.driver === v,
    type: (n, v) => v === (n.predefined ? "builtin" : "custom"),
    scope: (n, v) => v === (n.spec?.driver === "overlay" ? "swarm" : "local"),
    label: (n, v) => hasLabel(n.spec?.annotations?.labels, v),
    dangling: (n, v) => (v === "true" || v === "1") === isDangling(state, n),
  });

/** Users made it, and nobody is on it. */
const isDangling = (state: ReadTx, network: Network): boolean =>
  !network.predefined &&
  !network.spec?.ingress &&
  state.servicesOfNetwork(network.id).length === 0 &&
  state.tasksOfNetwork(network.id).every(hasEnded);

/** Services that are being removed are not listed. */
export const selectServices = (state: ReadTx, filters: readonly Filter[]): Service[] =>
  select<Service>(state.all("service"), filters, {
    id: idMatches,
    name: (s, v) => (s.spec?.annotations?.name ?? "").startsWith(v),
    mode: (_s, v) => v === "replicated",
    label: (s, v) => hasLabel(s.spec?.annotations?.labels, v),
  }).filter((s) => !s.pendingDelete);

const desired = (task: Task): string =>
  task.desiredState >= TaskState.TASK_COMPLETE
    ? "shutdown"
    : task.desiredState === TaskState.TASK_RUNNING
      ? "running"
      : "accepted";

/** As Docker calls it; REJECTED and ORPHANED too are over. */
const containerStatus = (task: Task): "created" | "running" | "exited" =>
  hasEnded(task) ? "exited" : task.status?.state === TaskState.TASK_RUNNING ? "running" : "created";

export const selectTasks = (state: ReadTx, filters: readonly Filter[]): Task[] =>
  select<Task>(state.all("task"), filters, {
    id: idMatches,
    name: (t, v) => t.name.startsWith(v),
    service: (t, v) => t.serviceName === v || (v !== "" && t.serviceId.startsWith(v)),
    node: (t, v) =>
      t.nodeId !== "" && (t.nodeId.startsWith(v) || state.get("node", t.nodeId)?.description?.hostname === v),
    "desired-state": (t, v) => desired(t) === (v === "ready" ? "accepted" : v),
    network: (t, v) => {
      const id = state.networkByName(v)?.id ?? v;
      return t.attachments.some((a) => a.networkId === id) || (t.spec?.networks.some((n) => n.target === id) ?? false);
    },
    stack: (t, v) => t.stack === v,
    label: (t, v) => hasLabel(t.spec?.container?.labels, v),
    "is-task": (t, v) => (v === "true" || v === "1") === (t.serviceId !== ""),
    status: (t, v) => containerStatus(t) === v,
  });
