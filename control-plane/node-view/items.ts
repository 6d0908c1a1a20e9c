// The single items of a node view, each a function of the state. An item that belongs to no view is undefined.
import { hasEnded, isLost, isRunning, observed } from "#control-plane/orchestrator/task-life.ts";
import { meshPorts } from "#control-plane/state/keys.ts";
import type { ReadTx } from "#control-plane/state/types.ts";
import { meshMac } from "#net/model/mac.ts";
import type { Assignment, Backend } from "#proto/gen/dispatcher.ts";
import { EndpointMode, type NetworkAttachment, type Service, type Task, TaskState } from "#proto/gen/types.ts";

export const taskKey = (taskId: string): string => `task/${taskId}`;
export const networkKey = (networkId: string): string => `network/${networkId}`;
export const endpointKey = (networkId: string, taskId: string): string => `endpoint/${networkId}/${taskId}`;
export const serviceKey = (networkId: string, serviceId: string): string => `service/${networkId}/${serviceId}`;
export const publishKey = (serviceId: string): string => `publish/${serviceId}`;

/** The agent must know of it: assigned, and not deleted yet. Ended ones stay until then, for logs and for the clean-up. */
export const isForAgent = (task: Task): boolean => task.nodeId !== "" && observed(task) >= TaskState.TASK_ASSIGNED;

/** It has, or may soon have, an end in its networks. */
export const isAttached = (task: Task): boolean => isForAgent(task) && !hasEnded(task);

export const networksOfTask = (task: Task): string[] =>
  isAttached(task) ? task.attachments.map((attachment) => attachment.networkId) : [];

/** The network over which every node passes packets for published ports on, while a service has such ports. */
export const meshOf = (state: ReadTx): string | undefined =>
  state.publishedServices().length > 0 ? state.ingressNetwork()?.id : undefined;

/** The networks that a node has to know: those of its tasks, and the mesh as long as it can accept packets. */
export const networksOfNode = (state: ReadTx, nodeId: string, mesh: string | undefined): Set<string> => {
  const networks = new Set(state.tasksOfNode(nodeId).flatMap(networksOfTask));
  if (mesh !== undefined && !isLost(state.get("node", nodeId))) networks.add(mesh);
  return networks;
};

export const networksOfService = (service: Service): Set<string> =>
  new Set([
    ...service.vips.map((vip) => vip.networkId),
    ...(service.spec?.task?.networks ?? []).map((network) => network.target),
  ]);

export const taskItem = (task: Task): Assignment => ({ key: taskKey(task.id), item: { $case: "task", value: task } });

export const networkItem = (state: ReadTx, networkId: string): Assignment | undefined => {
  const network = state.get("network", networkId);
  return network && { key: networkKey(networkId), item: { $case: "network", value: network } };
};

const bare = (address: string): string => address.split("/", 1)[0] ?? "";

const attachmentTo = (task: Task, networkId: string): NetworkAttachment | undefined =>
  task.attachments.find((attachment) => attachment.networkId === networkId);

/**
 * Where other nodes find this task on this network. Only overlays reach other nodes. What a lost node ran can't be
 * reached, and its addresses must not attract packets.
 */
export const endpointItem = (state: ReadTx, networkId: string, taskId: string): Assignment | undefined => {
  const task = state.get("task", taskId);
  if (task === undefined || !isAttached(task)) return undefined;
  const attachment = attachmentTo(task, networkId);
  const node = state.get("node", task.nodeId);
  const vtep = node?.status?.addr ?? "";
  if (attachment === undefined || isLost(node) || vtep === "") return undefined;
  if (state.get("network", networkId)?.spec?.driver !== "overlay") return undefined;
  const value = {
    networkId,
    taskId,
    nodeId: task.nodeId,
    vtep,
    ipv4: bare(attachment.ipv4),
    ipv6: bare(attachment.ipv6),
    mac: attachment.mac,
  };
  return { key: endpointKey(networkId, taskId), item: { $case: "endpoint", value } };
};

/** Where other nodes find this node itself on the network of published ports; an endpoint without a task. */
export const memberItem = (state: ReadTx, networkId: string, nodeId: string): Assignment | undefined => {
  const member = state.get("network", networkId)?.nodes.find((address) => address.nodeId === nodeId);
  const node = state.get("node", nodeId);
  const vtep = node?.status?.addr ?? "";
  if (member === undefined || isLost(node) || vtep === "") return undefined;
  const { ipv4, ipv6 } = member;
  const value = { networkId, taskId: "", nodeId, vtep, ipv4, ipv6, mac: meshMac(networkId, nodeId) };
  return { key: endpointKey(networkId, nodeId), item: { $case: "endpoint", value } };
};

/** Name, virtual addresses and backends of a service on a network. A deleted service has no name any more. */
export const serviceItem = (state: ReadTx, networkId: string, serviceId: string): Assignment | undefined => {
  const service = state.get("service", serviceId);
  if (service === undefined || service.pendingDelete || !networksOfService(service).has(networkId)) return undefined;
  const annotations = service.spec?.annotations;
  const config = service.spec?.task?.networks.find((network) => network.target === networkId);
  const vip = service.spec?.endpointMode === EndpointMode.DNSRR ? undefined : vipOn(service, networkId);
  const value = {
    networkId,
    serviceId,
    name: annotations?.name ?? "",
    stack: annotations?.labels["com.docker.stack.namespace"] ?? "",
    aliases: config?.aliases ?? [],
    vip4: vip?.ipv4 ?? "",
    vip6: vip?.ipv6 ?? "",
    backends: backends(state, networkId, serviceId),
    ports: service.ports.filter((port) => port.name !== ""),
  };
  return { key: serviceKey(networkId, serviceId), item: { $case: "service", value } };
};

/** Does no service name this task here: it is a container of its own, or was connected while it ran? */
const hasOwnName = (state: ReadTx, networkId: string, task: Task): boolean => {
  if (task.serviceId === "") return true;
  const service = state.get("service", task.serviceId);
  if (service === undefined || service.pendingDelete || state.get("network", networkId)?.spec?.ingress) return false;
  return !networksOfService(service).has(networkId);
};

/** Name and aliases of a running task on a network where no service speaks for it: one backend, no virtual address. */
export const taskNameItem = (state: ReadTx, networkId: string, taskId: string): Assignment | undefined => {
  const task = state.get("task", taskId);
  if (task === undefined || !isRunning(task) || isLost(state.get("node", task.nodeId))) return undefined;
  const attachment = attachmentTo(task, networkId);
  if (attachment === undefined || !hasOwnName(state, networkId, task)) return undefined;
  const { ipv4, ipv6, aliases } = attachment;
  const value = {
    networkId,
    serviceId: taskId,
    name: task.name,
    stack: task.stack,
    aliases,
    vip4: "",
    vip6: "",
    backends: [{ taskId, slot: 0, ipv4: bare(ipv4), ipv6: bare(ipv6), taskName: "" }],
    ports: [],
  };
  return { key: serviceKey(networkId, taskId), item: { $case: "service", value } };
};

/** The ports of a service that every node accepts, and where its tasks are on the ingress network; undefined on other networks. */
export const publishItem = (state: ReadTx, networkId: string, serviceId: string): Assignment | undefined => {
  const service = state.get("service", serviceId);
  if (service === undefined || !state.get("network", networkId)?.spec?.ingress) return undefined;
  const ports = meshPorts(service);
  if (ports.length === 0) return undefined;
  const found = runningOn(state, networkId, serviceId).map(({ task, attachment: { ipv4, ipv6 } }) => ({
    taskId: task.id,
    nodeId: task.nodeId,
    ipv4: bare(ipv4),
    ipv6: bare(ipv6),
  }));
  const value = { serviceId, name: service.spec?.annotations?.name ?? "", ports, backends: found };
  return { key: publishKey(serviceId), item: { $case: "publish", value } };
};

const vipOn = (service: Service, networkId: string) => service.vips.find((vip) => vip.networkId === networkId);

const backends = (state: ReadTx, networkId: string, serviceId: string): Backend[] =>
  runningOn(state, networkId, serviceId).map(({ task, attachment: { ipv4, ipv6 } }) => ({
    taskId: task.id,
    slot: task.slot,
    ipv4: bare(ipv4),
    ipv6: bare(ipv6),
    taskName: task.name,
  }));

/** The tasks that take connections on this network, by slot. */
const runningOn = (state: ReadTx, networkId: string, serviceId: string) => {
  const found: { readonly task: Task; readonly attachment: NetworkAttachment }[] = [];
  for (const task of state.tasksOfService(serviceId)) {
    if (!isRunning(task) || isLost(state.get("node", task.nodeId))) continue;
    const attachment = attachmentTo(task, networkId);
    if (attachment !== undefined) found.push({ task, attachment });
  }
  return found.sort((a, b) => a.task.slot - b.task.slot || (a.task.id < b.task.id ? -1 : 1));
};
