import { refuse, refuseAll } from "#base/errors.ts";
import { subnetUsage } from "#control-plane/allocator/addresses.ts";
import { addSubnets, allocateSubnets, allocateVni } from "#control-plane/allocator/subnets.ts";
import { sameData } from "#control-plane/orchestrator/same-data.ts";
import { Issues } from "#control-plane/specs/issues.ts";
import { applyTemplate, checkNetworkSpec } from "#control-plane/specs/network.ts";
import { hasEnded } from "#control-plane/state/keys.ts";
import type { ReadTx, Tx, WriteContext } from "#control-plane/state/types.ts";
import { bridgeOptions } from "#net/model/driver-options.ts";
import type { Filter, NetworkView } from "#proto/gen/control.ts";
import { Network, type NetworkSpec, type Task, TaskState } from "#proto/gen/types.ts";
import { hasLabel } from "./filters.ts";
import { checkVersion } from "./nodes.ts";
import { resolveNetwork } from "./references.ts";

const nameOf = (network: Network): string => network.spec?.annotations?.name ?? network.id;

/** The spec as it is stored: checked, and with the settings of its template. Throws TswarmError: invalid, not_found. */
export const storedNetworkSpec = (tx: ReadTx, given: NetworkSpec | undefined): NetworkSpec => {
  if (given === undefined || given.configFrom === "") return checkNetworkSpec(given);
  const template = tx.networkByName(given.configFrom);
  const remedy = "Make it with `tsctl network create --config-only`";
  if (template?.spec === undefined)
    throw refuse("not_found", "configFrom", `there is no network ${JSON.stringify(given.configFrom)}`, remedy);
  if (!template.spec.configOnly)
    throw refuse("invalid", "configFrom", `network ${given.configFrom} is no config-only network`, remedy);
  return checkNetworkSpec(applyTemplate(given, template.spec));
};

const checkBridgeName = (tx: ReadTx, spec: NetworkSpec): void => {
  const { name } = bridgeOptions(spec.options);
  if (spec.configOnly || name === "") return;
  for (const other of tx.all("network"))
    if (!other.spec?.configOnly && bridgeOptions(other.spec?.options ?? {}).name === name)
      throw refuse(
        "conflict",
        "options.bridge-name",
        `the bridge of network ${nameOf(other)} has the name ${name}`,
        "Choose another name, or leave it out",
      );
};

/** Makes a network with its subnets and VNI at once. Throws TswarmError: invalid, name_conflict, conflict (overlap), exhausted. */
export const createNetwork = (
  tx: Tx,
  ctx: WriteContext,
  input: { readonly spec: NetworkSpec | undefined },
): Network => {
  const spec = storedNetworkSpec(tx, input.spec);
  const name = spec.annotations!.name;
  const same = tx.networkByName(name);
  if (same !== undefined)
    throw refuse("name_conflict", "annotations.name", `network ${name} exists (${same.id})`, "Choose another name");
  const ingress = spec.ingress ? tx.ingressNetwork() : undefined;
  if (ingress !== undefined)
    throw refuse(
      "conflict",
      "ingress",
      `network ${nameOf(ingress)} is the cluster's ingress network`,
      `Remove it first (tsctl network rm ${nameOf(ingress)})`,
    );
  checkBridgeName(tx, spec);
  const subnets = allocateSubnets(tx, spec);
  const network = Network.fromPartial({ id: ctx.newId(), spec, subnets, vni: allocateVni(tx, spec) });
  tx.put("network", network);
  return network;
};

/** What an update may not change. */
const FIXED = [
  "driver",
  "options",
  "internal",
  "attachable",
  "ipv4",
  "ipv6",
  "ingress",
  "configOnly",
  "configFrom",
  "ipamOptions",
] as const satisfies readonly (keyof NetworkSpec)[];

const checkUpdate = (before: NetworkSpec, after: NetworkSpec): void => {
  const issues = new Issues();
  const remedy = "Make another network and move services to it; only labels and added subnets can change";
  issues.check(
    before.annotations?.name === after.annotations?.name,
    "annotations.name",
    "a network can't be renamed",
    `Keep the name ${before.annotations?.name}`,
  );
  for (const field of FIXED)
    issues.check(sameData(before[field], after[field]), field, "it can't be changed while the network lives", remedy);
  for (const [i, config] of before.ipam.entries())
    issues.check(
      sameData(config, after.ipam[i]),
      `ipam[${i}]`,
      `the subnet ${config.subnet} can't be changed or removed`,
      "Keep it, and add another one behind the others",
    );
  refuseAll("The update", issues.list);
};

/**
 * New labels, and subnets in addition. Throws TswarmError: not_found, stale_version, invalid, conflict (overlap, a predefined
 * network).
 */
export const updateNetwork = (
  tx: Tx,
  _ctx: WriteContext,
  input: { readonly id: string; readonly version: number; readonly spec: NetworkSpec | undefined },
): Network => {
  const network = resolveNetwork(tx, input.id);
  checkVersion("network", network.meta?.version ?? 0, input.version);
  if (network.predefined)
    throw refuse("conflict", "network", `${nameOf(network)} is the same in every cluster`, "Name another network");
  const spec = checkNetworkSpec(input.spec);
  checkUpdate(network.spec!, spec);
  const known = network.spec!.ipam.length;
  const added = spec.configOnly ? [] : addSubnets(tx, spec, known);
  const next = { ...network, spec, subnets: [...network.subnets, ...added] };
  tx.put("network", next);
  return next;
};

/** Who keeps a network alive, in words: services that are not being removed, tasks that have not ended, and networks made from it. */
const usersOf = (tx: ReadTx, network: Network): string[] => {
  const services = tx
    .servicesOfNetwork(network.id)
    .filter((s) => !s.pendingDelete)
    .map((s) => `service ${s.spec?.annotations?.name}`);
  const published = network.spec?.ingress
    ? tx.publishedServices().map((s) => `service ${s.spec?.annotations?.name}, which publishes ports`)
    : [];
  const tasks = tx
    .tasksOfNetwork(network.id)
    .filter((t) => !hasEnded(t))
    .map((t) => `task ${t.name}`);
  return [
    ...new Set([...services, ...published, ...tasks, ...madeFrom(tx, network).map((n) => `network ${nameOf(n)}`)]),
  ];
};

const madeFrom = (tx: ReadTx, template: Network): Network[] =>
  template.spec?.configOnly ? [...tx.all("network")].filter((n) => n.spec?.configFrom === nameOf(template)) : [];

/** Removes a network that nobody uses; its resting addresses go with it. */
export const removeNetwork = (tx: Tx, _ctx: WriteContext, input: { readonly ref: string }): Network => {
  const network = resolveNetwork(tx, input.ref);
  const name = nameOf(network);
  if (network.predefined)
    throw refuse("conflict", "network", `${name} is in every cluster and can't be removed`, "Name another network");
  const users = usersOf(tx, network);
  if (users.length > 0)
    throw refuse(
      "conflict",
      "network",
      `${name} is in use by ${users.slice(0, 5).join(", ")}${users.length > 5 ? ` and ${users.length - 5} more` : ""}`,
      "Remove them, or take the network away from them, and wait until their tasks have left",
    );
  dropNetwork(tx, network.id);
  return network;
};

/** Docker's: `label` keeps those that have it, `label!` those that don't, `until` those made before (ms since the epoch). */
const PRUNE_FILTERS = ["label", "label!", "until"] as const;

const prunable = (network: Network, filters: readonly Filter[]): boolean =>
  filters.every(({ key, values }) => {
    const labels = network.spec?.annotations?.labels;
    if (key === "label") return values.every((value) => hasLabel(labels, value));
    if (key === "label!") return !values.some((value) => hasLabel(labels, value));
    return values.every((value) => (network.meta?.createdAt ?? 0) <= Number(value));
  });

/** Removes the networks that nobody uses and that users made; the ingress network and templates stay. */
export const pruneNetworks = (tx: Tx, ctx: WriteContext, input: { readonly filters: readonly Filter[] }): Network[] => {
  for (const { key, values } of input.filters) {
    const known = (PRUNE_FILTERS as readonly string[]).includes(key);
    if (!known)
      throw refuse("invalid", `filter ${key}`, "there is no such filter", `Known are: ${PRUNE_FILTERS.join(", ")}`);
    for (const value of key === "until" ? values : [])
      if (!/^\d+$/.test(value))
        throw refuse("invalid", "filter until", `${JSON.stringify(value)} is no time`, "Use milliseconds since 1970");
  }
  const removed: Network[] = [];
  for (const network of [...tx.all("network")]) {
    if (network.predefined || network.spec?.ingress || network.spec?.configOnly) continue;
    if (!prunable(network, input.filters) || usersOf(tx, network).length > 0) continue;
    removed.push(removeNetwork(tx, ctx, { ref: network.id }));
  }
  return removed;
};

/** It has an address there, or will get one; a task of a service may have been taken from a network of its spec. */
const isOn = (task: Task, networkId: string): boolean =>
  (task.status?.state ?? TaskState.TASK_NEW) === TaskState.TASK_NEW ||
  task.attachments.some((attachment) => attachment.networkId === networkId);

/** A network with who uses it and how full it is. */
export const viewNetwork = (tx: ReadTx, network: Network): NetworkView => ({
  network,
  tasks: tx.tasksOfNetwork(network.id).filter((t) => !hasEnded(t) && isOn(t, network.id)),
  services: [...tx.servicesOfNetwork(network.id)],
  usage: network.subnets.map((subnet) => subnetUsage(tx, network, subnet)),
});

/** The network, and what only exists with it. */
const dropNetwork = (tx: Tx, id: string): void => {
  tx.delete("network", id);
  for (const service of tx.servicesOfNetwork(id))
    tx.put("service", { ...service, vips: service.vips.filter((v) => v.networkId !== id) });
  for (const lease of [...tx.all("lease")]) if (lease.networkId === id) tx.delete("lease", lease.id);
};
