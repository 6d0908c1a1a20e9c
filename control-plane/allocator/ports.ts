// Published ports. Those of the mesh belong to a service, one number and protocol to one of them; those of mode host to a task on
// its node, which the scheduler finds for them. Nothing is remembered: what is taken follows from the state.
import { refuse } from "#base/errors.ts";
import { collide, hostPorts, ingressPorts, portText, protocolName, samePort } from "#control-plane/specs/ports.ts";
import { hasEnded } from "#control-plane/state/keys.ts";
import type { ReadTx } from "#control-plane/state/types.ts";
import {
  NetworkAttachmentConfig,
  NodeState,
  type PortConfig,
  PortMode,
  type Service,
  type ServiceSpec,
  type Task,
  type TaskSpec,
} from "#proto/gen/types.ts";

/** As Swarm (manager/allocator/portallocator.go): given to services that name no published port. */
const FIRST_DYNAMIC = 30_000;
const LAST_DYNAMIC = 32_767;

/** The ingress network has the default route unless the user gave another network a priority of 1 or more. */
const INGRESS_PRIORITY = 1;

/** Drivers that let the node itself reach the container. */
const REACHABLE = new Set(["bridge", "host"]);

type Owner = { readonly reason: string; readonly remedy: string };

const nameOf = (service: Service): string => service.spec?.annotations?.name ?? service.id;

/** Who on some node has this port already: a program of the host, or a task in mode host. */
const ownerOnNodes = (tx: ReadTx, serviceId: string, port: PortConfig): Owner | undefined => {
  for (const node of tx.all("node")) {
    if (node.status?.state !== NodeState.NODE_READY) continue;
    for (const listener of node.description?.hostPorts ?? [])
      if (collide({ ...listener, published: listener.port }, port))
        return {
          reason: `${listener.owner || "a program"} on node ${node.description?.hostname || node.id} listens on ${portText({ ...listener, published: listener.port })}`,
          remedy: "Stop it there, or publish another port",
        };
  }
  for (const task of tx.all("task"))
    if (task.serviceId !== serviceId && !hasEnded(task) && task.ports.some((other) => collide(other, port)))
      return {
        reason: `task ${task.name} publishes ${portText(port)} on its node in mode host`,
        remedy: "Publish another port, or remove that one first",
      };
  return undefined;
};

/** Who wants this number in the specs of services: that is so also while they have no task. */
const ownerInServices = (tx: ReadTx, serviceId: string, port: PortConfig): Owner | undefined => {
  const found = (service: Service, mode: string): Owner => ({
    reason: `service ${nameOf(service)} publishes ${protocolName(port.protocol)} port ${port.published} in mode ${mode}`,
    remedy: "Publish another port, or remove that one first",
  });
  if (port.mode === PortMode.INGRESS) {
    const holder = tx.serviceByPort(port.protocol, port.published);
    if (holder !== undefined && holder.id !== serviceId) return found(holder, "ingress");
    for (const service of tx.all("service"))
      if (service.id !== serviceId && !service.pendingDelete && hostPorts(service.ports).some((o) => collide(o, port)))
        return found(service, "host");
    return undefined;
  }
  const mesh = tx.serviceByPort(port.protocol, port.published);
  const clash = mesh !== undefined && mesh.id !== serviceId && ingressPorts(mesh.ports).some((o) => collide(o, port));
  return clash ? found(mesh, "ingress") : undefined;
};

const isKept = (current: readonly PortConfig[], port: PortConfig): boolean =>
  current.some((known) => known.mode === port.mode && known.hostIp === port.hostIp && collide(known, port));

/** The number that a port without one got before stays as long as the port does. */
const keptNumber = (current: readonly PortConfig[], port: PortConfig, used: readonly PortConfig[]): number =>
  current.find(
    (known) =>
      known.mode === port.mode &&
      known.protocol === port.protocol &&
      known.target === port.target &&
      known.published >= FIRST_DYNAMIC &&
      known.published <= LAST_DYNAMIC &&
      !used.some((other) => collide({ ...other, hostIp: "" }, known)),
  )?.published ?? 0;

const freeNumber = (tx: ReadTx, serviceId: string, port: PortConfig, used: readonly PortConfig[]): number => {
  const taken = takenNumbers(tx, serviceId, port);
  for (const other of used) if (other.protocol === port.protocol) taken.add(other.published);
  for (let published = FIRST_DYNAMIC; published <= LAST_DYNAMIC; published++)
    if (!taken.has(published) && tx.serviceByPort(port.protocol, published) === undefined) return published;
  throw refuse(
    "exhausted",
    "ports",
    `no ${protocolName(port.protocol)} port from ${FIRST_DYNAMIC} to ${LAST_DYNAMIC} is free`,
    "Remove published ports, or name a published port outside of that range",
  );
};

/** Numbers that nodes and tasks or services in mode host have, whatever the address is. */
const takenNumbers = (tx: ReadTx, serviceId: string, { protocol }: PortConfig): Set<number> => {
  const taken = new Set<number>();
  const take = (ports: readonly PortConfig[]): void => {
    for (const port of ports) if (port.protocol === protocol) taken.add(port.published);
  };
  for (const node of tx.all("node"))
    for (const listener of node.description?.hostPorts ?? [])
      if (listener.protocol === protocol) taken.add(listener.port);
  for (const task of tx.all("task")) if (task.ports.length > 0 && !hasEnded(task)) take(task.ports);
  for (const service of tx.all("service")) if (service.id !== serviceId) take(hostPorts(service.ports));
  return taken;
};

/**
 * The ports of a checked spec in its order, with their published numbers; those of mode host without one keep 0, the scheduler
 * finds one on the node of each task. `current`: what the service has. What it had already is not questioned again.
 * Throws TswarmError `conflict` (names who has the port) or `exhausted`.
 */
export const allocatePorts = (
  tx: ReadTx,
  { ports }: Pick<ServiceSpec, "ports">,
  current: readonly PortConfig[],
  serviceId: string,
): PortConfig[] => {
  const fixed = ports.filter((port) => port.published !== 0);
  const given: PortConfig[] = [...fixed];
  return ports.map((port, i) => {
    if (port.published === 0) {
      if (port.mode === PortMode.HOST) return port;
      const published = keptNumber(current, port, given) || freeNumber(tx, serviceId, port, given);
      const allocated = { ...port, published };
      given.push(allocated);
      return allocated;
    }
    if (isKept(current, port)) return port;
    const mesh = port.mode === PortMode.INGRESS;
    const owner = ownerInServices(tx, serviceId, port) ?? (mesh ? ownerOnNodes(tx, serviceId, port) : undefined);
    if (owner !== undefined) throw refuse("conflict", `ports[${i}].published`, owner.reason, owner.remedy);
    return port;
  });
};

/** Are these not the ports that the spec asks for, each with a number where it needs one? */
export const lacksPorts = ({ ports }: Pick<ServiceSpec, "ports">, allocated: readonly PortConfig[]): boolean =>
  ports.length !== allocated.length ||
  ports.some((port, i) => {
    const chosen = port.published === 0 && port.mode === PortMode.INGRESS;
    const has = allocated[i]!;
    return !samePort(chosen ? { ...port, published: has.published || -1 } : port, has);
  });

/**
 * Does a task with these ports need an end on the ingress network: for the mesh, or because its node reaches it on no other?
 */
export const needsIngress = (tx: ReadTx, task: TaskSpec | undefined, ports: readonly PortConfig[]): boolean => {
  if (ingressPorts(ports).length > 0) return true;
  if (ports.length === 0) return false;
  const drivers = (task?.networks ?? []).map(({ target }) => tx.get("network", target)?.spec?.driver ?? "");
  return !drivers.some((driver) => REACHABLE.has(driver));
};

const portsFor = (tx: ReadTx, task: Task): readonly PortConfig[] =>
  task.serviceId === "" ? task.ports : (tx.get("service", task.serviceId)?.ports ?? []);

/** The ports that its node publishes for a new task alone; a container of its own brings them along. */
export const portsOfTask = (tx: ReadTx, task: Task): PortConfig[] => hostPorts(portsFor(tx, task));

/** The networks of a new task: those of its spec, and the ingress network when its ports need it. */
export const networksOfTask = (tx: ReadTx, task: Task): NetworkAttachmentConfig[] => {
  const networks = task.spec?.networks ?? [];
  if (!needsIngress(tx, task.spec, portsFor(tx, task))) return networks;
  const target = tx.ingressNetwork()?.id ?? "ingress";
  return [...networks, NetworkAttachmentConfig.fromPartial({ target, gatewayPriority: INGRESS_PRIORITY })];
};
