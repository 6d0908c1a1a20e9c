// Addresses that services pin: the n-th of a list is that of slot n. Nobody else gets them, also while the slot has no task.
import { refuse } from "#base/errors.ts";
import { hasEnded, withoutLength } from "#control-plane/state/keys.ts";
import type { ReadTx } from "#control-plane/state/types.ts";
import type { Network, NetworkAttachmentConfig, Service, ServiceSpec, Task } from "#proto/gen/types.ts";

export type Pin = { readonly ipv4: string; readonly ipv6: string };

/** What the attachment pins for a slot; a container of its own has no slot and takes the first. Empty: nothing. */
export const pinOf = (config: NetworkAttachmentConfig, slot: number): Pin => {
  const at = Math.max(slot, 1) - 1;
  return { ipv4: config.ipv4[at] ?? "", ipv6: config.ipv6[at] ?? "" };
};

const pinsIn = (networks: readonly NetworkAttachmentConfig[], networkId: string): string[] =>
  networks.flatMap((config) => (config.target === networkId ? [...config.ipv4, ...config.ipv6] : []));

/** Every pinned address of the network; `more`: of a spec that is not stored yet. */
export const pinnedAddresses = (
  tx: ReadTx,
  networkId: string,
  more: readonly NetworkAttachmentConfig[],
): Set<string> => {
  const pinned = new Set(pinsIn(more, networkId));
  for (const service of tx.servicesOfNetwork(networkId))
    if (!service.pendingDelete)
      for (const address of pinsIn(service.spec?.task?.networks ?? [], networkId)) pinned.add(address);
  return pinned;
};

const nameOf = (service: Service | undefined, id: string): string => service?.spec?.annotations?.name ?? id;

/** Who holds an address, in words. */
export const holderText = (tx: ReadTx, holder: string): string => {
  const slash = holder.indexOf("/");
  const [kind, id] = slash < 0 ? [holder, ""] : [holder.slice(0, slash), holder.slice(slash + 1)];
  if (kind === "gateway") return "the gateway";
  if (kind === "reserved") return `the reserved address ${id}`;
  if (kind === "service") return `the virtual address of service ${nameOf(tx.get("service", id), id)}`;
  if (kind === "node") return `node ${tx.get("node", id)?.description?.hostname || id}`;
  const task = tx.get("task", id);
  if (task === undefined) return `${kind} ${id}`;
  const node = tx.get("node", task.nodeId)?.description?.hostname;
  return `task ${task.name || task.id}${node === undefined ? "" : ` on node ${node}`}`;
};

const taskOf = (tx: ReadTx, holder: string): Task | undefined =>
  holder.startsWith("task/") ? tx.get("task", holder.slice("task/".length)) : undefined;

/** Is the holder the task that has the slot until the new one takes the address over? */
const isPredecessor = (tx: ReadTx, holder: string, serviceId: string, slot: number): boolean => {
  const task = taskOf(tx, holder);
  return task !== undefined && serviceId !== "" && task.serviceId === serviceId && task.slot === slot;
};

const otherPinner = (tx: ReadTx, network: Network, address: string, serviceId: string): Service | undefined =>
  tx
    .servicesOfNetwork(network.id)
    .find(
      (s) =>
        s.id !== serviceId && !s.pendingDelete && pinsIn(s.spec?.task?.networks ?? [], network.id).includes(address),
    );

const macHolder = (tx: ReadTx, networkId: string, mac: string, serviceId: string): string | undefined => {
  for (const service of tx.servicesOfNetwork(networkId))
    if (service.id !== serviceId && !service.pendingDelete)
      for (const config of service.spec?.task?.networks ?? [])
        if (config.target === networkId && config.mac === mac) return `service ${nameOf(service, service.id)}`;
  const task = tx
    .tasksOfNetwork(networkId)
    .find(
      (t) =>
        !hasEnded(t) &&
        (serviceId === "" || t.serviceId !== serviceId) &&
        t.attachments.some((a) => a.networkId === networkId && a.mac === mac),
    );
  return task === undefined ? undefined : `task ${task.name || task.id}`;
};

/**
 * Refuses pinned addresses and MACs that somebody else has, with the holder's name. `serviceId`: empty for a service that is
 * new and for a container of its own. An address that rests is taken over when its rest ends; one that the slot's own task
 * has, when that task has ended.
 */
export const checkPins = (tx: ReadTx, spec: Pick<ServiceSpec, "task">, serviceId: string): void => {
  for (const [i, config] of (spec.task?.networks ?? []).entries()) {
    const network = tx.get("network", config.target);
    if (network === undefined) continue;
    const name = network.spec?.annotations?.name ?? network.id;
    for (const family of ["ipv4", "ipv6"] as const)
      for (const [n, address] of config[family].entries()) {
        const at = `task.networks[${i}].${family}`;
        const remedy = `Choose another address of ${network.subnets.map((s) => s.subnet).join(" or ")}`;
        const other = otherPinner(tx, network, address, serviceId);
        if (other !== undefined)
          throw refuse("conflict", at, `service ${nameOf(other, other.id)} pins ${address} on network ${name}`, remedy);
        const holder = tx.addressHolder(network.id, address);
        if (holder === undefined || holder.startsWith("lease/") || isPredecessor(tx, holder, serviceId, n + 1))
          continue;
        throw refuse("conflict", at, `${address} on network ${name} is held by ${holderText(tx, holder)}`, remedy);
      }
    const macOwner = config.mac === "" ? undefined : macHolder(tx, network.id, config.mac, serviceId);
    if (macOwner !== undefined)
      throw refuse(
        "conflict",
        `task.networks[${i}].mac`,
        `${macOwner} has ${config.mac} on network ${name}`,
        "Choose another MAC, or leave it out",
      );
  }
};

/**
 * May this task have its pinned address now? Undefined: yes. Else who has it. What rests after the slot's own former task goes
 * to its successor at once: it is the same service at the same address, so a late packet is no stranger's.
 */
export const pinHolder = (tx: ReadTx, network: Network, address: string, task: Task): string | undefined => {
  const holder = tx.addressHolder(network.id, address);
  if (holder === undefined) return undefined;
  const wasItsOwn =
    holder.startsWith("lease/") &&
    task.serviceId !== "" &&
    tx
      .tasksOfService(task.serviceId)
      .some(
        (t) =>
          t.id !== task.id &&
          t.slot === task.slot &&
          t.attachments.some(
            (a) => a.networkId === network.id && [a.ipv4, a.ipv6].map(withoutLength).includes(address),
          ),
      );
  return wasItsOwn ? undefined : holder;
};
