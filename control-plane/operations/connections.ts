// Networks that a running task is connected to or taken from. What it has is in its attachments; a service's spec, and
// with it its other tasks and what replaces this one, stay as they are.
import { refuse, refuseAll } from "#base/errors.ts";
import { addressPair, fullText, newLookups } from "#control-plane/allocator/addresses.ts";
import { attach, nameInterfaces } from "#control-plane/allocator/attach.ts";
import { checkPins, holderText, pinHolder } from "#control-plane/allocator/pins.ts";
import { needsSubnet } from "#control-plane/allocator/subnets.ts";
import { isLost, isRunning } from "#control-plane/orchestrator/task-life.ts";
import { attachmentDefaults, checkAttachments } from "#control-plane/specs/attachments.ts";
import { Issues } from "#control-plane/specs/issues.ts";
import type { ReadTx, Tx, WriteContext } from "#control-plane/state/types.ts";
import { needsParent, parentFor } from "#net/model/driver-options.ts";
import {
  type Network,
  type NetworkAttachment,
  NetworkAttachmentConfig,
  type Node,
  ServiceSpec,
  type Task,
} from "#proto/gen/types.ts";
import { refuseUnattachable } from "./containers.ts";
import { resolveNetwork, resolveTask } from "./references.ts";
import { checkPinned, checkTarget } from "./services.ts";

/** They are the whole of what a container has, from its start on. */
const ALONE = new Set(["host", "none"]);

const nameOf = (network: Network): string => network.spec?.annotations?.name ?? network.id;
const hostOf = (node: Node | undefined, id: string): string => node?.description?.hostname || id;

const runningTask = (tx: ReadTx, ref: string): Task => {
  const task = resolveTask(tx, ref);
  if (isRunning(task)) return task;
  throw refuse("conflict", "task", `${task.name} is not running`, "See `tsctl ps` for what runs");
};

const refuseAlone = (tx: ReadTx, task: Task, network: Network): void => {
  const alone = [network, ...task.attachments.map((a) => tx.get("network", a.networkId))].find((n) =>
    ALONE.has(n?.spec?.driver ?? ""),
  );
  if (alone === undefined) return;
  const name = nameOf(alone);
  throw refuse(
    "invalid",
    "network",
    `network ${name} (driver ${alone.spec?.driver}) can't be combined with others, nor be joined or left by what runs`,
    `Start the container with --network ${name}, or without it`,
  );
};

const refuseWithoutParent = (network: Network, node: Node | undefined): void => {
  const { driver = "", options = {} } = network.spec ?? {};
  const hostname = node?.description?.hostname ?? "";
  const labels = { ...node?.description?.engineLabels, ...node?.spec?.annotations?.labels };
  if (!needsParent(driver) || parentFor(options, { hostname, labels }) !== undefined) return;
  throw refuse(
    "conflict",
    "network",
    `network ${nameOf(network)} has no parent interface on node ${hostname}`,
    `Make the network with --opt parent@${hostname}=…`,
  );
};

/** The same rules as for one attachment of a service with one replica. */
const checkConfig = (config: NetworkAttachmentConfig): void => {
  const issues = new Issues();
  checkAttachments(issues, ServiceSpec.fromPartial({ replicas: 1, task: { networks: [config] } }));
  const prefix = "task.networks[0].";
  refuseAll(
    "The connection",
    issues.list.map((issue) => ({ ...issue, field: issue.field.replace(prefix, "") })),
  );
};

/** An address of each family, as asked for or free. Throws TswarmError: conflict (somebody has it, it rests), exhausted. */
const addressesFor = (tx: ReadTx, network: Network, task: Task, config: NetworkAttachmentConfig) => {
  const pin = { ipv4: config.ipv4[0] ?? "", ipv6: config.ipv6[0] ?? "" };
  checkPins(tx, ServiceSpec.fromPartial({ task: { networks: [config] } }), "");
  for (const field of ["ipv4", "ipv6"] as const) {
    const holder = pin[field] === "" ? undefined : pinHolder(tx, network, pin[field], task);
    if (holder === undefined) continue;
    const resting = holder.startsWith("lease/");
    throw refuse(
      "conflict",
      field,
      `${pin[field]} on network ${nameOf(network)} ${resting ? "rests for a few seconds after its release" : `is held by ${holderText(tx, holder)}`}`,
      resting ? "Try again in a moment, or choose another" : "Choose another",
    );
  }
  const found = addressPair(tx, network, newLookups(), pin);
  if ("pair" in found) return found.pair;
  const { reason, remedy } = fullText(tx, network, found.full);
  throw refuse("exhausted", "network", reason, remedy);
};

const checkInterface = (task: Task, { interfaceName }: NetworkAttachmentConfig): void => {
  if (interfaceName === "" || !task.attachments.some((a) => a.interfaceName === interfaceName)) return;
  throw refuse(
    "conflict",
    "interfaceName",
    `${task.name} has an interface ${interfaceName}`,
    "Choose another name, or leave it out",
  );
};

/** A container of its own is what it is now: nothing is made from its spec again. */
const put = (tx: Tx, task: Task, attachments: NetworkAttachment[], networks: NetworkAttachmentConfig[]): Task => {
  const spec = task.serviceId === "" && task.spec !== undefined ? { ...task.spec, networks } : task.spec;
  const next = { ...task, attachments, spec };
  tx.put("task", next);
  return next;
};

/**
 * Gives a running task an interface on one more network. Throws TswarmError: not_found, invalid, forbidden (not attachable),
 * conflict (connected already, not running, address taken), exhausted, unavailable (its node, no subnet yet).
 */
export const connectNetwork = (
  tx: Tx,
  _ctx: WriteContext,
  input: {
    readonly network: string;
    readonly task: string;
    readonly config: NetworkAttachmentConfig | undefined;
  },
): Task => {
  const network = resolveNetwork(tx, input.network);
  const given = runningTask(tx, input.task);
  checkTarget("network", network);
  // Before this is changed: interfaces that have no names yet keep those that they have.
  const task = { ...given, attachments: nameInterfaces(tx, given.attachments) };
  if (task.attachments.some((a) => a.networkId === network.id))
    throw refuse("conflict", "network", `${task.name} is on network ${nameOf(network)} already`, "Name another one");
  refuseAlone(tx, task, network);
  refuseUnattachable(tx, "network", network.id);
  const node = tx.get("node", task.nodeId);
  if (isLost(node))
    throw refuse(
      "unavailable",
      "task",
      `${task.name} is on node ${hostOf(node, task.nodeId)}, which is down`,
      "Wait until it is back",
    );
  refuseWithoutParent(network, node);
  const config = attachmentDefaults({
    ...NetworkAttachmentConfig.fromPartial({}),
    ...input.config,
    target: network.id,
  });
  checkConfig(config);
  checkInterface(task, config);
  if (needsSubnet(network.spec!) && network.subnets.length === 0)
    throw refuse(
      "unavailable",
      "network",
      `network ${nameOf(network)} has no subnet yet`,
      "Try again when a node is ready, or give it one",
    );
  checkPinned("config", config, network);
  const attachment = attach(network, addressesFor(tx, network, task, config), task.id, config);
  const attachments = nameInterfaces(tx, [...task.attachments, attachment]);
  return put(tx, task, attachments, [...(task.spec?.networks ?? []), config]);
};

/**
 * Takes the interface away; the address rests. Throws TswarmError: not_found, conflict (not on that network, not running, needed
 * for published ports), unavailable (its node is down, unless `force`).
 */
export const disconnectNetwork = (
  tx: Tx,
  _ctx: WriteContext,
  input: { readonly network: string; readonly task: string; readonly force: boolean },
): Task => {
  const network = resolveNetwork(tx, input.network);
  const task = runningTask(tx, input.task);
  const name = nameOf(network);
  if (!task.attachments.some((a) => a.networkId === network.id))
    throw refuse("conflict", "network", `${task.name} is not on network ${name}`, "See `tsctl network inspect`");
  refuseAlone(tx, task, network);
  if (network.spec?.ingress)
    throw refuse(
      "conflict",
      "network",
      `the published ports of ${task.name} come over network ${name}`,
      "Publish nothing, or remove the container",
    );
  const node = tx.get("node", task.nodeId);
  if (isLost(node) && !input.force)
    throw refuse(
      "unavailable",
      "task",
      `${task.name} is on node ${hostOf(node, task.nodeId)}, which is down and may go on using the address`,
      "Wait until it is back, or use --force",
    );
  const attachments = nameInterfaces(tx, task.attachments).filter((a) => a.networkId !== network.id);
  const networks = (task.spec?.networks ?? []).filter(({ target }) => target !== network.id);
  return put(tx, task, attachments, networks);
};
