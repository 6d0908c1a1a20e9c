// Gives tasks their addresses (NEW → PENDING), services and networks what they lack, and ends the rest of released addresses.
// It has no memory: everything follows from the state.
import { TswarmError } from "#base/errors.ts";
import { ADDRESS_REST_MS } from "#control-plane/state/apply.ts";
import { withoutLength } from "#control-plane/state/keys.ts";
import type { Tx, WriteContext } from "#control-plane/state/types.ts";
import { contains } from "#net/model/cidr.ts";
import { type Network, type NetworkAttachment, NodeState, type Task, TaskState, TaskStatus } from "#proto/gen/types.ts";
import { addressPair, type Lookups, newLookups, type Pair, waitText } from "./addresses.ts";
import { attach, nameInterfaces } from "./attach.ts";
import { completeNodes } from "./node-addresses.ts";
import { holderText, pinHolder, pinOf } from "./pins.ts";
import { allocatePorts, lacksPorts, networksOfTask, portsOfTask } from "./ports.ts";
import { allocateSubnets, allocateVni, needsSubnet } from "./subnets.ts";
import { allocateVips, lacksVips } from "./vips.ts";

/** Why a pinned address can't be had yet. */
const heldText = (tx: Tx, network: Network, address: string, holder: string): string => {
  const name = network.spec?.annotations?.name ?? network.id;
  if (holder.startsWith("lease/"))
    return `network ${name}: the pinned address ${address} rests for a few seconds after its release.`;
  const task = tx.get("task", holder.slice("task/".length));
  const node = task === undefined ? undefined : tx.get("node", task.nodeId);
  const hint =
    node?.status?.state === NodeState.NODE_DOWN
      ? `That node is down: bring it back, or remove it (tsctl node rm --force ${node.description?.hostname || node.id}).`
      : "It is given over when that one has ended.";
  return `network ${name}: the pinned address ${address} is held by ${holderText(tx, holder)}. ${hint}`;
};

/** Who has one of the pinned addresses; undefined: they are the task's. */
const heldPin = (tx: Tx, network: Network, pin: Pair, task: Task): string | undefined => {
  for (const address of [pin.ipv4, pin.ipv6]) {
    const holder = address === "" ? undefined : pinHolder(tx, network, address, task);
    if (holder !== undefined) return heldText(tx, network, address, holder);
  }
  return undefined;
};

/** All attachments of a task, or why there are none; nothing is written for a task that gets only some of them. */
const attachmentsOf = (tx: Tx, task: Task, lookups: Lookups): NetworkAttachment[] | string => {
  const attachments: NetworkAttachment[] = [];
  for (const config of networksOfTask(tx, task)) {
    const { target } = config;
    if (attachments.some((a) => a.networkId === target)) continue;
    const network = tx.get("network", target);
    if (network?.spec === undefined) return `network ${target} does not exist any more`;
    if (needsSubnet(network.spec) && network.subnets.length === 0)
      return `network ${network.spec.annotations?.name} has no subnet yet: no node is ready, or the pools have none left`;
    const pin = pinOf(config, task.slot);
    const outside = [pin.ipv4, pin.ipv6].find((a) => a !== "" && !network.subnets.some((s) => contains(s.subnet, a)));
    if (outside !== undefined)
      return `network ${network.spec.annotations?.name}: the pinned address ${outside} is in none of its subnets`;
    const held = heldPin(tx, network, pin, task);
    if (held !== undefined) return held;
    const result = addressPair(tx, network, lookups, pin);
    if ("full" in result) return waitText(tx, network, result.full, lookups);
    attachments.push(attach(network, result.pair, task.id, config));
  }
  return nameInterfaces(tx, attachments);
};

/** What rests after the former task of the slot is taken over (`pinHolder`). */
const endTakenRests = (tx: Tx, attachments: readonly NetworkAttachment[]): void => {
  for (const { networkId, ipv4, ipv6 } of attachments)
    for (const prefix of [ipv4, ipv6]) if (prefix !== "") tx.delete("lease", `${networkId}/${withoutLength(prefix)}`);
};

const allocateTask = (tx: Tx, ctx: WriteContext, task: Task, lookups: Lookups): void => {
  const attachments = attachmentsOf(tx, task, lookups);
  const status = { ...TaskStatus.fromPartial({}), ...task.status };
  if (typeof attachments !== "string") {
    const pending = { ...status, state: TaskState.TASK_PENDING, at: ctx.now, message: "waiting for a node", error: "" };
    endTakenRests(tx, attachments);
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

/** Networks that came with the cluster get their subnets when it is known what a node reaches on its own. */
const completeNetworks = (tx: Tx): void => {
  if (![...tx.all("node")].some((n) => n.status?.state === NodeState.NODE_READY)) return;
  for (const network of [...tx.all("network")]) {
    const { spec } = network;
    if (spec === undefined || !needsSubnet(spec)) continue;
    const lacksVni = spec.driver === "overlay" && network.vni === 0;
    if (network.subnets.length > 0 && !lacksVni) continue;
    whenPossible(() => {
      const subnets = network.subnets.length > 0 ? network.subnets : allocateSubnets(tx, spec);
      tx.put("network", { ...network, subnets, vni: lacksVni ? allocateVni(tx, spec) : network.vni });
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
  completeNodes(tx);
  completeServices(tx);
  const lookups = newLookups();
  const ids = options.tasks ?? tx.newTasks().map((t) => t.id);
  for (const id of ids) {
    const task = tx.get("task", id);
    if (task === undefined || (task.status?.state ?? 0) !== TaskState.TASK_NEW) continue;
    if (task.desiredState > TaskState.TASK_RUNNING) continue;
    allocateTask(tx, ctx, task, lookups);
  }
  return wakeAt === undefined ? {} : { wakeAt };
};
