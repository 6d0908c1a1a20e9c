import { refuse } from "#base/errors.ts";
import { allocateVips } from "#control-plane/allocator/vips.ts";
import { sameData } from "#control-plane/orchestrator/same-data.ts";
import { checkServiceSpec } from "#control-plane/specs/service.ts";
import type { ReadTx, Tx, WriteContext } from "#control-plane/state/types.ts";
import { NetworkAttachmentConfig, Service, type ServiceSpec, UpdateState, UpdateStatus } from "#proto/gen/types.ts";
import { pinImage } from "./images.ts";
import { checkVersion } from "./nodes.ts";
import { resolveNetwork, resolveService } from "./references.ts";

const DEFAULT_NETWORK = "bridge";

const resolveNetworks = (tx: ReadTx, networks: readonly NetworkAttachmentConfig[]): NetworkAttachmentConfig[] => {
  // As in Docker: who names no network gets its node's default bridge, and with it a way out.
  if (networks.length === 0)
    return [NetworkAttachmentConfig.fromPartial({ target: resolveNetwork(tx, DEFAULT_NETWORK).id })];
  const seen = new Set<string>();
  return networks.map((config, i) => {
    const { id, spec } = resolveNetwork(tx, config.target);
    if (seen.has(id))
      throw refuse("invalid", `task.networks[${i}]`, `network ${config.target} is named twice`, "Name it once");
    seen.add(id);
    if (networks.length > 1 && (spec?.driver === "host" || spec?.driver === "none"))
      throw refuse(
        "invalid",
        `task.networks[${i}]`,
        `network ${config.target} (driver ${spec.driver}) can't be combined with others`,
        "Use it alone, or leave it out",
      );
    return { ...config, target: id };
  });
};

/** The spec as it is stored: checked, with defaults, networks as ids and the image pinned. */
const storedSpec = (tx: ReadTx, given: ServiceSpec | undefined, before: Service | undefined): ServiceSpec => {
  const spec = checkServiceSpec(given);
  const task = spec.task!;
  const container = task.container!;
  const old = before?.spec?.task?.container;
  const kept = old?.image === container.image && container.imageDigest === old.imageDigest ? old.imageDigest : "";
  const imageDigest = kept || pinImage(tx, container.image);
  return {
    ...spec,
    task: { ...task, networks: resolveNetworks(tx, task.networks), container: { ...container, imageDigest } },
  };
};

/** What the user should know although the service was accepted. */
export const serviceWarnings = (tx: ReadTx, { spec }: Service): string[] => {
  const digest = spec?.task?.container?.imageDigest;
  const nodes = [...tx.all("node")];
  const lacking = nodes.filter((n) => !n.description?.images.some((i) => i.digest === digest));
  if (lacking.length === 0) return [];
  const names = lacking.map((n) => n.description?.hostname || n.id).sort();
  return [`image ${spec?.task?.container?.image} is missing on ${names.join(", ")}: no task can run there`];
};

/** Throws TswarmError: invalid, name_conflict, not_found (network, image), exhausted (no address for a VIP). */
export const createService = (
  tx: Tx,
  ctx: WriteContext,
  input: { readonly spec: ServiceSpec | undefined },
): Service => {
  const checked = checkServiceSpec(input.spec);
  const name = checked.annotations!.name;
  const existing = tx.serviceByName(name);
  if (existing !== undefined)
    throw refuse(
      "name_conflict",
      "annotations.name",
      existing.pendingDelete
        ? `service ${name} is being removed, its tasks have not left yet`
        : `service ${name} exists (${existing.id})`,
      existing.pendingDelete ? "Try again in a moment" : "Choose another name, or update that service",
    );
  const spec = storedSpec(tx, checked, undefined);
  const vips = allocateVips(tx, spec, []);
  const service = Service.fromPartial({ id: ctx.newId(), spec, specVersion: 1, vips });
  tx.put("service", service);
  return service;
};

const alive = (service: Service): Service => {
  if (!service.pendingDelete) return service;
  throw refuse(
    "conflict",
    "service",
    `${service.spec?.annotations?.name} is being removed`,
    "Create it anew when it is gone",
  );
};

const rollbackSpec = (service: Service): ServiceSpec => {
  if (service.previousSpec !== undefined) return service.previousSpec;
  throw refuse("conflict", "rollback", "the service was never updated", "There is nothing to go back to");
};

/**
 * A new spec, or the previous one with `rollback`. Tasks are replaced only when the task's spec changed: spec_version counts those
 * changes. VIPs of networks that stay are kept.
 */
export const updateService = (
  tx: Tx,
  ctx: WriteContext,
  input: {
    readonly id: string;
    readonly version: number;
    readonly spec: ServiceSpec | undefined;
    readonly rollback: boolean;
  },
): Service => {
  const service = alive(resolveService(tx, input.id));
  checkVersion("service", service.meta?.version ?? 0, input.version);
  const spec = input.rollback ? rollbackSpec(service) : storedSpec(tx, input.spec, service);
  const name = service.spec?.annotations?.name;
  if (spec.annotations?.name !== name)
    throw refuse("invalid", "annotations.name", "a service can't be renamed", `Keep the name ${name}`);
  const changed = !sameData(spec.task, service.spec?.task);
  const started = UpdateStatus.fromPartial({
    state: UpdateState.UPDATE_ROLLBACK_STARTED,
    startedAt: ctx.now,
    message: "rollback asked for by the user",
  });
  const next: Service = {
    ...service,
    spec,
    previousSpec: service.spec,
    specVersion: service.specVersion + (changed ? 1 : 0),
    vips: allocateVips(tx, spec, service.vips),
    updateStatus: changed ? (input.rollback ? started : undefined) : service.updateStatus,
  };
  tx.put("service", next);
  return next;
};

/** Gone for the user; the orchestrator deletes it when its tasks have left. Until then its name is not free. */
export const removeService = (tx: Tx, _ctx: WriteContext, input: { readonly ref: string }): Service => {
  const service = resolveService(tx, input.ref);
  if (service.pendingDelete) return service;
  const next = { ...service, pendingDelete: true };
  tx.put("service", next);
  return next;
};
