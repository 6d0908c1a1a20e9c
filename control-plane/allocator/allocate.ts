// Gives tasks their addresses (NEW → PENDING), services and networks what they lack, and ends the rest of released addresses.
// It has no memory: everything follows from the state.
import { TswarmError } from "#base/errors.ts";
import { ADDRESS_REST_MS } from "#control-plane/state/apply.ts";
import type { Tx, WriteContext } from "#control-plane/state/types.ts";
import { withLength } from "#net/ipam/addresses.ts";
import { familyOf } from "#net/model/cidr.ts";
import { deriveMac } from "#net/model/mac.ts";
import { type Network, type NetworkAttachment, type Task, TaskState, TaskStatus } from "#proto/gen/types.ts";
import { type Cursors, freeAddresses, fullText, type Pair } from "./addresses.ts";
import { allocatePorts, lacksPorts, networksOfTask, portsOfTask } from "./ports.ts";
import { allocateSubnets, allocateVni, needsSubnet } from "./subnets.ts";
import { allocateVips, lacksVips } from "./vips.ts";

/** 02:42 and the IPv4 address, as Docker; without IPv4 from the task's id. */
const macOf = (ipv4: string, seed: string): string => {
  if (ipv4 === "") return deriveMac(seed);
  const bytes = ipv4.split(".").map((part) => Number(part).toString(16).padStart(2, "0"));
  return `02:42:${bytes.join(":")}`;
};

const attach = (network: Network, pair: Pair, taskId: string, aliases: string[]): NetworkAttachment => {
  const subnetOf = (family: 4 | 6): string => network.subnets.find((s) => familyOf(s.subnet) === family)?.subnet ?? "";
  return {
    networkId: network.id,
    ipv4: pair.ipv4 === "" ? "" : withLength(pair.ipv4, subnetOf(4)),
    ipv6: pair.ipv6 === "" ? "" : withLength(pair.ipv6, subnetOf(6)),
    mac: pair.ipv4 === "" && pair.ipv6 === "" ? "" : macOf(pair.ipv4, `${taskId} ${network.id}`),
    aliases,
    interfaceName: "",
    gatewayPriority: 0,
    sysctls: {},
  };
};

/** All attachments of a task, or why there are none; nothing is written for a task that gets only some of them. */
const attachmentsOf = (tx: Tx, task: Task, cursors: Cursors): NetworkAttachment[] | string => {
  const attachments: NetworkAttachment[] = [];
  const before = new Map(cursors);
  for (const { target, aliases } of networksOfTask(tx, task)) {
    if (attachments.some((a) => a.networkId === target)) continue;
    const network = tx.get("network", target);
    if (network === undefined) return `network ${target} does not exist any more`;
    const result = freeAddresses(tx, network, cursors);
    if ("full" in result) {
      for (const [key, last] of before) cursors.set(key, last);
      const { reason, remedy } = fullText(tx, network, result.full);
      return `${reason}. ${remedy}.`;
    }
    attachments.push(attach(network, result.pair, task.id, aliases));
  }
  return attachments;
};

const allocateTask = (tx: Tx, ctx: WriteContext, task: Task, cursors: Cursors): void => {
  const attachments = attachmentsOf(tx, task, cursors);
  const status = { ...TaskStatus.fromPartial({}), ...task.status };
  if (typeof attachments !== "string") {
    const pending = { ...status, state: TaskState.TASK_PENDING, at: ctx.now, message: "waiting for a node", error: "" };
    tx.put("task", { ...task, attachments, ports: portsOfTask(tx, task), status: pending });
  } else if (status.error !== attachments)
    tx.put("task", { ...task, status: { ...status, at: ctx.now, error: attachments } });
};

const endRests = (tx: Tx, now: number): number | undefined => {
  let next: number | undefined;
  for (const lease of [...tx.all("lease")]) {
    // 0: released in this very transaction.
    const freeAfter = lease.freeAfter || now + ADDRESS_REST_MS;
    if (freeAfter <= now) tx.delete("lease", lease.id);
    else if (next === undefined || freeAfter < next) next = freeAfter;
  }
  return next;
};

const completeNetworks = (tx: Tx): void => {
  for (const network of [...tx.all("network")]) {
    const { spec } = network;
    if (spec === undefined || !needsSubnet(spec.driver)) continue;
    const lacksVni = spec.driver === "overlay" && network.vni === 0;
    if (network.subnets.length > 0 && !lacksVni) continue;
    whenPossible(() => {
      const subnets = network.subnets.length > 0 ? network.subnets : allocateSubnets(tx, spec);
      tx.put("network", { ...network, subnets, vni: lacksVni ? allocateVni(tx) : network.vni });
    });
  }
};

const completeServices = (tx: Tx): void => {
  for (const service of [...tx.all("service")]) {
    const { spec } = service;
    if (spec === undefined || service.pendingDelete) continue;
    if (lacksVips(tx, spec, service.vips))
      whenPossible(() => tx.put("service", { ...service, vips: allocateVips(tx, spec, service.vips) }));
    if (lacksPorts(spec, service.ports))
      whenPossible(() => {
        const ports = allocatePorts(tx, spec, service.ports, service.id);
        tx.put("service", { ...tx.get("service", service.id)!, ports });
      });
  }
};

/** A refusal is no error here: the next pass tries again. */
const whenPossible = (write: () => void): void => {
  try {
    write();
  } catch (error) {
    if (!(error instanceof TswarmError)) throw error;
  }
};

/**
 * One pass. `tasks`: ids to look at; without it all tasks in state NEW. Returns when the next resting address becomes free
 * (ms since the epoch): tasks that found none should be tried again then.
 */
export const allocate = (
  tx: Tx,
  ctx: WriteContext,
  options: { readonly tasks?: Iterable<string> } = {},
): { readonly wakeAt?: number } => {
  const wakeAt = endRests(tx, ctx.now);
  completeNetworks(tx);
  completeServices(tx);
  const cursors: Cursors = new Map();
  const ids = options.tasks ?? tx.newTasks().map((t) => t.id);
  for (const id of ids) {
    const task = tx.get("task", id);
    if (task === undefined || (task.status?.state ?? 0) !== TaskState.TASK_NEW) continue;
    if (task.desiredState > TaskState.TASK_RUNNING) continue;
    allocateTask(tx, ctx, task, cursors);
  }
  return wakeAt === undefined ? {} : { wakeAt };
};
