import { refuse } from "#base/errors.ts";
import { checkPins } from "#control-plane/allocator/pins.ts";
import { allocatePorts, needsIngress } from "#control-plane/allocator/ports.ts";
import { allocateVips } from "#control-plane/allocator/vips.ts";
import { sameData } from "#control-plane/orchestrator/same-data.ts";
import { checkPortsOnDrivers, hostPorts, ingressPorts } from "#control-plane/specs/ports.ts";
import { checkServiceSpec } from "#control-plane/specs/service.ts";
import type { ReadTx, Tx, WriteContext } from "#control-plane/state/types.ts";
import { contains, familyOf } from "#net/model/cidr.ts";
import {
  type Network,
  NetworkAttachmentConfig,
  type PortConfig,
  PortMode,
  Service,
  type ServiceSpec,
  UpdateState,
  UpdateStatus,
} from "#proto/gen/types.ts";
import { pinImage } from "./images.ts";
import { checkVersion } from "./nodes.ts";
import { resolveNetwork, resolveService } from "./references.ts";

const DEFAULT_NETWORK = "bridge";

/** Can a user attach something to this network at all? */
export const checkTarget = (at: string, { spec }: Network): void => {
  const name = spec?.annotations?.name;
  if (spec?.ingress)
    throw refuse(
      "invalid",
      at,
      `network ${name} is for published ports, services can't name it`,
      "Leave it out: who publishes a port is attached to it",
    );
  if (spec?.configOnly)
    throw refuse(
      "invalid",
      at,
      `network ${name} is config-only, a template that nothing can be attached to`,
      `Name a network that was made from it (tsctl network create --config-from ${name})`,
    );
};

/** Who else has a pinned address is asked later (`checkPins`). */
export const checkPinned = (at: string, config: NetworkAttachmentConfig, { spec, subnets }: Network): void => {
  for (const family of ["ipv4", "ipv6"] as const)
    for (const address of config[family])
      if (!subnets.some((s) => contains(s.subnet, address)))
        throw refuse(
          "invalid",
          `${at}.${family}`,
          `${address} is in no subnet of network ${spec?.annotations?.name}`,
          `Use an address of ${subnets.map((s) => s.subnet).join(" or ") || "a network that has subnets"}`,
        );
};

/** The networks by id, checked; the default one when none is named. Throws TswarmError: invalid, not_found. */
export const resolveNetworks = (
  tx: ReadTx,
  networks: readonly NetworkAttachmentConfig[],
  ports: readonly PortConfig[],
): NetworkAttachmentConfig[] => {
  // As in Docker: who names no network gets its node's default bridge, and with it a way out. The ingress network has one too.
  if (networks.length === 0 && ingressPorts(ports).length > 0) return [];
  if (networks.length === 0)
    return [NetworkAttachmentConfig.fromPartial({ target: resolveNetwork(tx, DEFAULT_NETWORK).id })];
  const seen = new Set<string>();
  return networks.map((config, i) => {
    const network = resolveNetwork(tx, config.target);
    const { id, spec } = network;
    checkTarget(`task.networks[${i}]`, network);
    checkPinned(`task.networks[${i}]`, config, network);
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

/** A port that is bound to an address needs a way into the container of that address's family. */
const checkHostIps = (spec: ServiceSpec, networks: readonly Network[], ingress: Network | undefined): void => {
  const bridges = networks.filter((network) => network.spec?.driver === "bridge");
  for (const [i, { hostIp, mode }] of spec.ports.entries()) {
    if (hostIp === "" || networks.some((network) => network.spec?.driver === "host")) continue;
    const ways = mode === PortMode.HOST && bridges.length > 0 ? bridges : ingress === undefined ? [] : [ingress];
    const family = familyOf(hostIp);
    if (ways.some((way) => (family === 4 ? way.spec?.ipv4 : way.spec?.ipv6))) continue;
    throw refuse(
      "invalid",
      `ports[${i}].hostIp`,
      `${hostIp} is IPv${family}, but network ${ways.map((way) => way.spec?.annotations?.name).join(", ")} has no IPv${family}`,
      `Use an IPv${family === 4 ? 6 : 4} address, or leave it out`,
    );
  }
};

/** Can these ports be published on these networks? Throws TswarmError: invalid, not_found (the ingress network). */
export const checkPublished = (tx: ReadTx, spec: ServiceSpec): void => {
  const networks = (spec.task?.networks ?? []).map(({ target }) => resolveNetwork(tx, target));
  checkPortsOnDrivers(
    spec.ports,
    networks.map((network) => network.spec?.driver ?? ""),
  );
  const ingress = tx.ingressNetwork();
  if (needsIngress(tx, spec.task, spec.ports) && ingress === undefined)
    throw refuse(
      "not_found",
      "ports",
      "there is no network for published ports",
      "Make one with `tsctl network create --ingress ingress`",
    );
  checkHostIps(spec, networks, ingress);
};

/** What only new tasks can follow: ports of the mesh come and go on the nodes alone once a task is attached to it. */
const needsNewTasks = (tx: ReadTx, before: ServiceSpec | undefined, spec: ServiceSpec): boolean =>
  !sameData(spec.task, before?.task) ||
  !sameData(hostPorts(spec.ports), hostPorts(before?.ports ?? [])) ||
  needsIngress(tx, spec.task, spec.ports) !== needsIngress(tx, before?.task, before?.ports ?? []);

/** The spec as it is stored: checked, with defaults, networks as ids and the image pinned. */
const storedSpec = (tx: ReadTx, given: ServiceSpec | undefined, before: Service | undefined): ServiceSpec => {
  const spec = checkServiceSpec(given);
  const task = spec.task!;
  const container = task.container!;
  const old = before?.spec?.task?.container;
  const kept = old?.image === container.image && container.imageDigest === old.imageDigest ? old.imageDigest : "";
  const imageDigest = kept || pinImage(tx, container.image);
  const networks = resolveNetworks(tx, task.networks, spec.ports);
  const stored = { ...spec, task: { ...task, networks, container: { ...container, imageDigest } } };
  checkPublished(tx, stored);
  return stored;
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

/**
 * Throws TswarmError: invalid, name_conflict, not_found (network, image), conflict (somebody has the published port), exhausted
 * (no address for a VIP, no port).
 */
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
  checkPins(tx, spec, "");
  const vips = allocateVips(tx, spec, []);
  const id = ctx.newId();
  const ports = allocatePorts(tx, spec, [], id);
  const service = Service.fromPartial({ id, spec, specVersion: 1, vips, ports });
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

const rollbackSpec = (tx: ReadTx, service: Service): ServiceSpec => {
  // Nobody keeps a network for the sake of a former spec.
  if (service.previousSpec?.task?.networks.some(({ target }) => tx.get("network", target) === undefined))
    throw refuse(
      "conflict",
      "rollback",
      "a network of the former spec was removed",
      "Update the service to what it shall be",
    );
  if (service.previousSpec !== undefined) return service.previousSpec;
  throw refuse("conflict", "rollback", "the service was never updated", "There is nothing to go back to");
};

/**
 * A new spec, or the previous one with `rollback`. Tasks are replaced only when what they are made of changed: spec_version counts
 * those changes. VIPs of networks that stay are kept, and so are published ports.
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
  const spec = input.rollback ? rollbackSpec(tx, service) : storedSpec(tx, input.spec, service);
  const name = service.spec?.annotations?.name;
  if (spec.annotations?.name !== name)
    throw refuse("invalid", "annotations.name", "a service can't be renamed", `Keep the name ${name}`);
  checkPins(tx, spec, service.id);
  const changed = needsNewTasks(tx, service.spec, spec);
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
    ports: allocatePorts(tx, spec, service.ports, service.id),
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
