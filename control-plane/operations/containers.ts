// Containers of their own: tasks without a service, on the node where the user wants them. They keep their name until they
// are removed.
import { refuse, TswarmError } from "#base/errors.ts";
import { checkPins } from "#control-plane/allocator/pins.ts";
import { allocatePorts } from "#control-plane/allocator/ports.ts";
import { hasEnded, isAssigned, isLost } from "#control-plane/orchestrator/task-life.ts";
import { endTask } from "#control-plane/orchestrator/write-task.ts";
import { HostPorts } from "#control-plane/scheduler/host-ports.ts";
import { collide, portText } from "#control-plane/specs/ports.ts";
import { checkServiceSpec } from "#control-plane/specs/service.ts";
import type { ReadTx, Tx, WriteContext } from "#control-plane/state/types.ts";
import type { RunContainerRequest } from "#proto/gen/control.ts";
import {
  type Node,
  NodeAvailability,
  NodeState,
  PortMode,
  RestartCondition,
  RestartPolicy,
  ServiceSpec,
  Task,
  TaskState,
} from "#proto/gen/types.ts";
import { pinImage } from "./images.ts";
import { resolveNode, resolveTask } from "./references.ts";
import { checkPublished, resolveNetworks } from "./services.ts";

const nodeName = (node: Node | undefined, id: string): string => node?.description?.hostname || id;

/** "tools-k3j9x2": what runs, and a part of the id. */
const nameFor = (image: string, id: string): string => {
  const base = (image.split("/").at(-1) ?? "").split(/[:@]/)[0]!.toLowerCase();
  const clean = base.replace(/[^a-z0-9-]+/g, "-").replace(/^-+/, "");
  return `${clean.slice(0, 40) || "container"}-${id.slice(0, 6)}`;
};

/** The node must be able to take it now: nothing waits for a node that was named. */
const checkNode = (node: Node): void => {
  const name = nodeName(node, node.id);
  if (node.status?.state !== NodeState.NODE_READY)
    throw refuse("unavailable", "node", `node ${name} is not ready`, "Wait until it is, or name another node");
  const availability = node.spec?.availability ?? NodeAvailability.ACTIVE;
  if (availability > NodeAvailability.ACTIVE)
    throw refuse(
      "conflict",
      "node",
      `node ${name} takes no new tasks, its availability is ${availability === NodeAvailability.DRAIN ? "drain" : "pause"}`,
      `Name another node, or make it active (tsctl node update --availability active ${name})`,
    );
};

/** The ports must be free on that node now; who has one of them is named. */
const checkFree = (tx: ReadTx, node: Node, ports: Task["ports"]): void => {
  const tasks = tx.tasksOfNode(node.id).filter((task) => !hasEnded(task));
  for (const [i, port] of ports.entries()) {
    const taken = new HostPorts(node, tx.tasksOfNode(node.id), () => false);
    for (const task of tasks) taken.add(task);
    if (taken.choose([port], 0) !== undefined) continue;
    const task = tasks.find((other) => other.ports.some((p) => collide(p, port)));
    const listener = node.description?.hostPorts.find((l) => collide({ ...l, published: l.port }, port));
    const owner = task === undefined ? listener?.owner || "another program" : `task ${task.name}`;
    throw refuse(
      "conflict",
      `ports[${i}].published`,
      `${owner} has ${portText(port)} on node ${nodeName(node, node.id)}`,
      "Publish another port, or name another node",
    );
  }
};

const checkAttachable = (tx: ReadTx, spec: ServiceSpec): void => {
  for (const [i, { target }] of spec.task!.networks.entries()) refuseUnattachable(tx, `task.networks[${i}]`, target);
};

/** Only services are on an overlay, unless it was made for others too. As Docker: other drivers take whoever comes. */
export const refuseUnattachable = (tx: ReadTx, field: string, networkId: string): void => {
  const { spec } = tx.get("network", networkId) ?? {};
  if (spec === undefined || spec.driver !== "overlay" || spec.attachable) return;
  throw refuse(
    "forbidden",
    field,
    `network ${spec.annotations?.name} is not attachable: only services can be on it`,
    "Make it with `tsctl network create --attachable`, or run a service",
  );
};

/**
 * Throws TswarmError: invalid, unsupported (restart policy), name_conflict, not_found (network, node, image on that node),
 * forbidden (a network that is not attachable), conflict (address, port, node that takes none), unavailable (node).
 */
export const runContainer = (tx: Tx, ctx: WriteContext, input: RunContainerRequest): Task => {
  const given = input.spec;
  if ((given?.restart?.condition ?? 0) > RestartCondition.RESTART_NONE)
    throw refuse(
      "unsupported",
      "task.restart",
      "a container of its own is not started again when it ends",
      "Run a service: it keeps its replicas running",
    );
  const id = ctx.newId();
  const name = input.name || nameFor(given?.container?.image ?? "", id);
  const ports = input.ports.map((port) => ({ ...port, mode: port.mode || PortMode.HOST }));
  const mesh = ports.findIndex((port) => port.mode === PortMode.INGRESS);
  if (mesh >= 0)
    throw refuse(
      "invalid",
      `ports[${mesh}].mode`,
      "a container of its own can't publish in mode ingress",
      "Use mode host: its node has the port; or run a service",
    );
  const restart = RestartPolicy.fromPartial({ condition: RestartCondition.RESTART_NONE });
  const task = given === undefined ? undefined : { ...given, restart };
  const spec = checkServiceSpec(
    ServiceSpec.fromPartial({ annotations: { name }, replicas: 1, ports, ...(task && { task }) }),
    "The container",
  );
  const same = tx.containerByName(name);
  if (same !== undefined)
    throw refuse(
      "name_conflict",
      "name",
      `container ${name} exists (${same.id})`,
      `Remove it (tsctl rm ${name}), or choose another name`,
    );
  const node = input.node === "" ? undefined : resolveNode(tx, input.node);
  if (node !== undefined) checkNode(node);
  const container = spec.task!.container!;
  const networks = resolveNetworks(tx, spec.task!.networks, []);
  const constraints = node === undefined ? (given?.placement?.constraints ?? []) : [`node.id==${node.id}`];
  const stored: ServiceSpec = {
    ...spec,
    task: {
      ...spec.task!,
      networks,
      placement: { constraints, spread: [], maxReplicasPerNode: 0 },
      container: { ...container, imageDigest: pinImage(tx, container.image, node) },
    },
  };
  checkAttachable(tx, stored);
  checkPublished(tx, stored);
  checkPins(tx, stored, "");
  const allocated = allocatePorts(tx, stored, [], id);
  if (node !== undefined) checkFree(tx, node, allocated);
  const made: Task = {
    ...Task.fromPartial({}),
    id,
    name,
    spec: stored.task,
    ports: allocated,
    status: {
      state: TaskState.TASK_NEW,
      at: ctx.now,
      message: "created",
      error: "",
      exitCode: 0,
      pid: 0,
      containerId: "",
    },
    desiredState: TaskState.TASK_RUNNING,
  };
  tx.put("task", made);
  return made;
};

/** A container of its own, by name, id or unique beginning of its id. */
const resolveContainer = (tx: ReadTx, ref: string): Task => {
  const task = resolveTask(tx, ref);
  if (task.serviceId === "") return task;
  throw refuse(
    "conflict",
    "container",
    `${task.name} is a task of service ${task.serviceName}, which would replace it`,
    `Scale the service (tsctl service scale ${task.serviceName}=N), or remove it`,
  );
};

/** Nobody can end what runs on a node that is down. */
const checkReachable = (tx: ReadTx, task: Task): void => {
  const node = tx.get("node", task.nodeId);
  if (node === undefined || !isLost(node)) return;
  const name = nodeName(node, task.nodeId);
  throw new TswarmError(
    "conflict",
    `${task.name} is on node ${name}, which is down. Bring it back, or remove it: tsctl node rm --force ${name}`,
  );
};

/** Asks it to end; one that has ended stays as it is. Throws TswarmError: not_found, conflict (not started, node down). */
export const stopContainer = (tx: Tx, _ctx: WriteContext, input: { readonly ref: string }): Task => {
  const task = resolveContainer(tx, input.ref);
  if (hasEnded(task)) return task;
  if (!isAssigned(task))
    throw refuse(
      "conflict",
      "container",
      `${task.name} has not started yet${task.status?.error ? `: ${task.status.error}` : ""}`,
      `Remove it (tsctl rm ${task.name})`,
    );
  checkReachable(tx, task);
  endTask(tx, task, TaskState.TASK_SHUTDOWN);
  return tx.get("task", task.id)!;
};

/**
 * One that has ended, or has not been given to a node, is gone at once; with `force` one that runs is ended first. Throws
 * TswarmError: not_found, conflict (it runs, its node is down).
 */
export const removeContainer = (
  tx: Tx,
  _ctx: WriteContext,
  input: { readonly ref: string; readonly force: boolean },
): Task => {
  const task = resolveContainer(tx, input.ref);
  if (hasEnded(task) || !isAssigned(task)) {
    tx.delete("task", task.id);
    return task;
  }
  if (!input.force)
    throw refuse(
      "conflict",
      "container",
      `${task.name} has not ended`,
      `Stop it first (tsctl stop ${task.name}), or use --force`,
    );
  checkReachable(tx, task);
  endTask(tx, task, TaskState.TASK_REMOVE);
  return task;
};
