// A stack is what carries its label. A deployment is one transaction: all of it happens, or nothing.
import { refuse } from "#base/errors.ts";
import { sameData } from "#control-plane/orchestrator/same-data.ts";
import type { ReadTx, Tx, WriteContext } from "#control-plane/state/types.ts";
import type { StackAction } from "#proto/gen/control.ts";
import type { Annotations, Network, NetworkSpec, Service, ServiceSpec } from "#proto/gen/types.ts";
import { createNetwork, removeNetwork, storedNetworkSpec, updateNetwork } from "./networks.ts";
import { createService, removeService, updateService } from "./services.ts";

const STACK_LABEL = "com.docker.stack.namespace";

const stackOf = (object: Service | Network): string => object.spec?.annotations?.labels[STACK_LABEL] ?? "";

const labelled = (annotations: Annotations | undefined, stack: string): Annotations => ({
  name: annotations?.name ?? "",
  labels: { ...annotations?.labels, [STACK_LABEL]: stack },
});

const servicesOf = (tx: ReadTx, stack: string): Service[] => [...tx.all("service")].filter((s) => stackOf(s) === stack);
const networksOf = (tx: ReadTx, stack: string): Network[] => [...tx.all("network")].filter((n) => stackOf(n) === stack);

const foreign = (kind: string, name: string, owner: string): never => {
  const whose = owner === "" ? "no stack" : `stack ${owner}`;
  throw refuse(
    "name_conflict",
    kind,
    `${kind} ${name} exists and belongs to ${whose}`,
    "Rename the stack, or remove that one",
  );
};

const deployNetwork = (tx: Tx, ctx: WriteContext, stack: string, given: NetworkSpec): StackAction => {
  const spec = { ...given, annotations: labelled(given.annotations, stack) };
  const { name } = spec.annotations;
  const existing = tx.networkByName(name);
  const action = (id: string, what: string): StackAction => ({ kind: "network", name, action: what, id });
  if (existing === undefined) return action(createNetwork(tx, ctx, { spec }).id, "create");
  if (stackOf(existing) !== stack) return foreign("network", name, stackOf(existing));
  const wanted = grown(storedNetworkSpec(tx, spec), existing.spec!);
  if (sameData(wanted, existing.spec)) return action(existing.id, "unchanged");
  updateNetwork(tx, ctx, { id: existing.id, version: existing.meta?.version ?? 0, spec: wanted });
  return action(existing.id, "update");
};

/** Subnets that were added to the live network stay, although the file does not have them. */
const grown = (spec: NetworkSpec, before: NetworkSpec): NetworkSpec => ({
  ...spec,
  ipam: [...spec.ipam, ...before.ipam.slice(spec.ipam.length)],
});

const deployService = (tx: Tx, ctx: WriteContext, stack: string, given: ServiceSpec): StackAction => {
  const spec = { ...given, annotations: labelled(given.annotations, stack) };
  const { name } = spec.annotations;
  const existing = tx.serviceByName(name);
  if (existing === undefined || existing.pendingDelete) {
    const created = createService(tx, ctx, { spec });
    return { kind: "service", name, action: "create", id: created.id };
  }
  if (stackOf(existing) !== stack) return foreign("service", name, stackOf(existing));
  // What only `tsctl service update --force` counts is no part of a stack file.
  const forced = existing.spec?.task?.forceUpdate ?? 0;
  const kept = spec.task === undefined ? spec : { ...spec, task: { ...spec.task, forceUpdate: forced } };
  const probe = updateService(silent(tx), ctx, {
    id: existing.id,
    version: existing.meta?.version ?? 0,
    spec: kept,
    rollback: false,
  });
  if (sameData(probe.spec, existing.spec)) return { kind: "service", name, action: "unchanged", id: existing.id };
  tx.put("service", probe);
  return { kind: "service", name, action: "update", id: existing.id };
};

/** The same transaction without its writes: to see what an update would give. */
const silent = (tx: Tx): Tx =>
  new Proxy(tx, {
    get: (target, key) => {
      if (key === "put") return () => undefined;
      const member = Reflect.get(target, key, target);
      return typeof member === "function" ? member.bind(target) : member;
    },
  });

/** Throws as createNetwork, createService and updateService do; the caller drops the transaction then. */
export const deployStack = (
  tx: Tx,
  ctx: WriteContext,
  input: {
    readonly name: string;
    readonly networks: readonly NetworkSpec[];
    readonly services: readonly ServiceSpec[];
    readonly prune: boolean;
  },
): StackAction[] => {
  const { name: stack, prune } = input;
  if (!/^[a-z0-9][a-zA-Z0-9_-]{0,39}$/.test(stack))
    throw refuse(
      "invalid",
      "name",
      `${JSON.stringify(stack)} is no name of a stack`,
      "Use up to 40 letters, digits, - and _; begin with a lower-case letter or digit",
    );
  const actions = input.networks.map((spec) => deployNetwork(tx, ctx, stack, spec));
  // First what goes: its published ports are free for what comes.
  const keep = new Set(input.services.map((s) => s.annotations?.name));
  const pruned = prune ? pruneServices(tx, ctx, stack, keep) : [];
  actions.push(...input.services.map((spec) => deployService(tx, ctx, stack, spec)), ...pruned);
  return actions;
};

const pruneServices = (
  tx: Tx,
  ctx: WriteContext,
  stack: string,
  keep: ReadonlySet<string | undefined>,
): StackAction[] =>
  servicesOf(tx, stack)
    .filter((s) => !s.pendingDelete && !keep.has(s.spec?.annotations?.name))
    .map((s) => {
      removeService(tx, ctx, { ref: s.id });
      return { kind: "service", name: s.spec?.annotations?.name ?? "", action: "remove", id: s.id };
    });

/**
 * Removes the stack's services, and those of its networks that nobody uses any more; networks with tasks that still run are "wait":
 * call again when the tasks have left.
 */
export const removeStack = (tx: Tx, ctx: WriteContext, input: { readonly name: string }): StackAction[] => {
  const services = servicesOf(tx, input.name);
  const networks = networksOf(tx, input.name);
  if (services.length + networks.length === 0)
    throw refuse("not_found", "stack", `there is no stack ${JSON.stringify(input.name)}`, "See `tsctl stack ls`");
  const actions = pruneServices(tx, ctx, input.name, new Set());
  for (const network of networks) {
    const name = network.spec?.annotations?.name ?? "";
    actions.push({ kind: "network", name, action: tryRemove(tx, ctx, network), id: network.id });
  }
  return actions;
};

const tryRemove = (tx: Tx, ctx: WriteContext, network: Network): string => {
  const going = servicesOf(tx, stackOf(network));
  const waits = tx.servicesOfNetwork(network.id).some((s) => going.some((g) => g.id === s.id));
  if (waits) return "wait";
  removeNetwork(tx, ctx, { ref: network.id });
  return "remove";
};
