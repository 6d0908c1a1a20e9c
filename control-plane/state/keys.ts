// What the indexes know about an object: the unique things it claims, and the groups that it belongs to.
import {
  type Network,
  type PortConfig,
  PortMode,
  type PortProtocol,
  type Service,
  type Task,
  TaskState,
} from "#proto/gen/types.ts";
import type { TableName, Tables } from "./types.ts";

/** A key that only one object can have at a time, within a space ("service", "container", "network", "vni", "port", "ingress", "address/<network id>"). */
export type Claim = { readonly space: string; readonly key: string; readonly holder: string };

export const addressSpace = (networkId: string): string => `address/${networkId}`;
export const groupKey = {
  serviceTasks: (serviceId: string): string => `service/${serviceId}`,
  nodeTasks: (nodeId: string): string => `node/${nodeId}`,
  networkTasks: (networkId: string): string => `network/${networkId}`,
  networkServices: (networkId: string): string => `services/${networkId}`,
  /** No network's id is empty or has a slash. */
  publishedServices: "services//published",
  newTasks: "new",
} as const;

/** A task that has ended: its container is gone, so that it holds nothing any more. */
export const hasEnded = (task: Task): boolean => (task.status?.state ?? 0) >= TaskState.TASK_COMPLETE;

/** A published port of the mesh: one service of the cluster has it. */
export const portKey = (protocol: PortProtocol, port: number): string => `${protocol}/${port}`;

/** The ports that every node accepts for this service, as allocated. They are free at once when it is removed. */
export const meshPorts = (service: Service): PortConfig[] =>
  service.pendingDelete ? [] : service.ports.filter((port) => port.mode === PortMode.INGRESS && port.published !== 0);

/** The address of "address/length". */
export const withoutLength = (prefix: string): string => {
  const slash = prefix.indexOf("/");
  return slash < 0 ? prefix : prefix.slice(0, slash);
};

/** A container of its own keeps its name until it is removed. */
const taskClaims = (task: Task): Claim[] => {
  const claims: Claim[] = [];
  if (task.serviceId === "" && task.name !== "") claims.push({ space: "container", key: task.name, holder: task.id });
  if (hasEnded(task)) return claims;
  for (const a of task.attachments)
    for (const address of [a.ipv4, a.ipv6])
      if (address !== "")
        claims.push({ space: addressSpace(a.networkId), key: withoutLength(address), holder: `task/${task.id}` });
  return claims;
};

const serviceClaims = (service: Service): Claim[] => {
  const claims: Claim[] = [];
  const name = service.spec?.annotations?.name ?? "";
  if (name !== "") claims.push({ space: "service", key: name, holder: service.id });
  for (const vip of service.vips)
    for (const address of [vip.ipv4, vip.ipv6])
      if (address !== "")
        claims.push({ space: addressSpace(vip.networkId), key: address, holder: `service/${service.id}` });
  for (const { protocol, published } of meshPorts(service))
    claims.push({ space: "port", key: portKey(protocol, published), holder: service.id });
  return claims;
};

const networkClaims = (network: Network): Claim[] => {
  const claims: Claim[] = [];
  const name = network.spec?.annotations?.name ?? "";
  if (name !== "") claims.push({ space: "network", key: name, holder: network.id });
  if (network.spec?.ingress) claims.push({ space: "ingress", key: "", holder: network.id });
  if (network.vni !== 0) claims.push({ space: "vni", key: String(network.vni), holder: network.id });
  const space = addressSpace(network.id);
  for (const subnet of network.subnets) {
    if (subnet.gateway !== "") claims.push({ space, key: withoutLength(subnet.gateway), holder: "gateway" });
    for (const [name, address] of Object.entries(subnet.reserved))
      claims.push({ space, key: withoutLength(address), holder: `reserved/${name}` });
  }
  for (const { nodeId, ipv4, ipv6 } of network.nodes)
    for (const address of [ipv4, ipv6])
      if (address !== "") claims.push({ space, key: address, holder: `node/${nodeId}` });
  return claims;
};

/** The unique keys that an object claims. */
export const claimsOf = <T extends TableName>(table: T, object: Tables[T]): Claim[] => {
  switch (table) {
    case "task":
      return taskClaims(object as Task);
    case "service":
      return serviceClaims(object as Service);
    case "network":
      return networkClaims(object as Network);
    case "lease": {
      const lease = object as Tables["lease"];
      return [{ space: addressSpace(lease.networkId), key: lease.address, holder: `lease/${lease.id}` }];
    }
    default:
      return [];
  }
};

const taskGroups = (task: Task): Set<string> => {
  const keys = new Set<string>();
  // Containers of their own are together those of the service "".
  keys.add(groupKey.serviceTasks(task.serviceId));
  if (task.nodeId !== "") keys.add(groupKey.nodeTasks(task.nodeId));
  for (const a of task.attachments) keys.add(groupKey.networkTasks(a.networkId));
  for (const n of task.spec?.networks ?? []) keys.add(groupKey.networkTasks(n.target));
  if ((task.status?.state ?? TaskState.TASK_NEW) === TaskState.TASK_NEW) keys.add(groupKey.newTasks);
  return keys;
};

const serviceGroups = (service: Service): Set<string> => {
  const keys = new Set<string>();
  for (const n of service.spec?.task?.networks ?? []) keys.add(groupKey.networkServices(n.target));
  for (const vip of service.vips) keys.add(groupKey.networkServices(vip.networkId));
  if (meshPorts(service).length > 0) keys.add(groupKey.publishedServices);
  return keys;
};

const NO_GROUPS: ReadonlySet<string> = new Set();

/** The groups that list this object: tasks by service, node and network; services by network, and those that every node accepts ports for. */
export const groupsOf = <T extends TableName>(table: T, object: Tables[T]): ReadonlySet<string> => {
  if (table === "task") return taskGroups(object as Task);
  if (table === "service") return serviceGroups(object as Service);
  return NO_GROUPS;
};
