// One entry of `services:` as a service spec. Key by key as docker/cli's compose loader reads them; what it ignores
// with a warning is refused here.

import { attachments } from "#control-plane/stack/attachments.ts";
import type { Variables } from "#control-plane/stack/interpolate.ts";
import {
  FAILURE_ACTIONS,
  RESTART_CONDITIONS,
  ROLLBACK_FAILURE_ACTIONS,
  restartPolicy,
  UPDATE_ORDERS,
  updateConfig,
} from "#control-plane/stack/policies.ts";
import { ports } from "#control-plane/stack/ports.ts";
import {
  commandLine,
  count,
  durationMs,
  fields,
  flag,
  items,
  nanoCpus,
  note,
  oneOf,
  pairs,
  sizeBytes,
  text,
  textOrTexts,
  texts,
  type Value,
} from "#control-plane/stack/reader.ts";
import { type ContainerSpec, EndpointMode, ServiceSpec, type TaskSpec, type UpdateConfig } from "#proto/gen/types.ts";

export const STACK_LABEL = "com.docker.stack.namespace";

export type StackScope = {
  readonly stack: string;
  readonly env: Variables;
  /** Name of a network in the file to its name in the cluster. */
  readonly networks: ReadonlyMap<string, string>;
};

const SERVICE_KEYS = [
  "image",
  "command",
  "entrypoint",
  "environment",
  "networks",
  "ports",
  "hostname",
  "labels",
  "stop_grace_period",
  "stop_signal",
  "working_dir",
  "user",
  "read_only",
  "init",
  "tty",
  "cap_add",
  "cap_drop",
  "sysctls",
  "extra_hosts",
  "dns",
  "dns_search",
  "dns_opt",
  "deploy",
] as const;

const DEPLOY_KEYS = [
  "mode",
  "replicas",
  "endpoint_mode",
  "labels",
  "resources",
  "restart_policy",
  "update_config",
  "rollback_config",
  "placement",
] as const;

/** "name:address", "name=address" or a mapping, to "name:address". */
const extraHosts = (v: Value | undefined): string[] => {
  if (v === undefined) return [];
  if (!Array.isArray(v.raw)) return Object.entries(pairs(v)).map(([name, address]) => `${name}:${address}`);
  return items(v).map((item) => {
    const match = /^([^:=\s]+)[:=](\S+)$/.exec(text(item));
    if (!match) note(item, `"${text(item)}" is not a host`, 'Write it like "name:10.0.0.1"');
    return match ? `${match[1]}:${match[2]}` : "";
  });
};

const policy = (v: Value | undefined, actions: typeof FAILURE_ACTIONS): UpdateConfig | undefined => {
  if (v === undefined) return undefined;
  const f = fields(v, ["parallelism", "delay", "failure_action", "monitor", "max_failure_ratio", "order"]);
  return updateConfig({
    parallelism: f.parallelism && count(f.parallelism, 1),
    delayMs: durationMs(f.delay),
    failureAction: oneOf(f.failure_action, actions, undefined),
    monitorMs: durationMs(f.monitor),
    maxFailureRatio: f.max_failure_ratio && count(f.max_failure_ratio, 0, true),
    order: oneOf(f.order, UPDATE_ORDERS, undefined),
  });
};

const restart = (v: Value | undefined): TaskSpec["restart"] => {
  if (v === undefined) return undefined;
  const f = fields(v, ["condition", "delay", "max_attempts", "window"]);
  return restartPolicy({
    condition: oneOf(f.condition, RESTART_CONDITIONS, undefined),
    delayMs: durationMs(f.delay),
    maxAttempts: f.max_attempts && count(f.max_attempts, 0),
    windowMs: durationMs(f.window),
  });
};

const resources = (v: Value | undefined, keys: readonly ("cpus" | "memory" | "pids")[]): TaskSpec["limits"] => {
  if (v === undefined) return undefined;
  const f = fields(v, keys);
  return { nanoCpus: nanoCpus(f.cpus) ?? 0, memoryBytes: sizeBytes(f.memory) ?? 0, pids: count(f.pids, 0) };
};

const placement = (v: Value | undefined): TaskSpec["placement"] => {
  if (v === undefined) return undefined;
  const f = fields(v, ["constraints", "preferences", "max_replicas_per_node"]);
  return {
    constraints: texts(f.constraints),
    spread: items(f.preferences).map((item) => text(fields(item, ["spread"]).spread)),
    maxReplicasPerNode: count(f.max_replicas_per_node, 0),
  };
};

type ServiceFields = Partial<Record<(typeof SERVICE_KEYS)[number], Value>>;

const container = (v: Value, f: ServiceFields, scope: StackScope): Partial<ContainerSpec> => {
  if (text(f.image) === "") note({ ...v, path: `${v.path}.image` }, "is missing", "Name the image that the tasks run");
  return {
    image: text(f.image),
    command: commandLine(f.entrypoint),
    args: commandLine(f.command),
    env: pairs(f.environment, (key) => scope.env[key]),
    dir: text(f.working_dir),
    user: text(f.user),
    hostname: text(f.hostname),
    labels: { ...pairs(f.labels), [STACK_LABEL]: scope.stack },
    tty: flag(f.tty),
    readOnly: flag(f.read_only),
    init: flag(f.init),
    stopSignal: text(f.stop_signal),
    stopGraceMs: durationMs(f.stop_grace_period) ?? 0,
    capAdd: texts(f.cap_add),
    capDrop: texts(f.cap_drop),
    sysctls: pairs(f.sysctls),
    hosts: extraHosts(f.extra_hosts),
    dns: textOrTexts(f.dns),
    dnsSearch: textOrTexts(f.dns_search),
    dnsOptions: texts(f.dns_opt),
  };
};

/** Compose has no key for it; one that begins with x- leaves the file readable for everyone else. */
const drainTimeout = (v: Value): Value | undefined => {
  const raw = (v.raw as Record<string, unknown> | null)?.["x-drain-timeout"];
  return raw === undefined ? undefined : { path: `${v.path}.x-drain-timeout`, raw, issues: v.issues };
};

/** `short` is the key in the file; the service is called `stack_short` and answers to `short` on its networks. */
export const serviceSpec = (short: string, v: Value, scope: StackScope): ServiceSpec => {
  const f = fields(v, SERVICE_KEYS);
  const d = f.deploy ? fields(f.deploy, DEPLOY_KEYS) : {};
  oneOf(d.mode, { replicated: true }, true);
  const r = d.resources ? fields(d.resources, ["limits", "reservations"]) : {};
  return ServiceSpec.fromPartial({
    annotations: { name: `${scope.stack}_${short}`, labels: { ...pairs(d.labels), [STACK_LABEL]: scope.stack } },
    task: {
      container: container(v, f, scope),
      limits: resources(r.limits, ["cpus", "memory", "pids"]),
      reservations: resources(r.reservations, ["cpus", "memory"]),
      restart: restart(d.restart_policy),
      placement: placement(d.placement),
      networks: attachments(f.networks, short, scope.networks),
      drainMs: durationMs(drainTimeout(v)),
    },
    replicas: count(d.replicas, 1),
    update: policy(d.update_config, FAILURE_ACTIONS),
    rollback: policy(d.rollback_config, ROLLBACK_FAILURE_ACTIONS),
    ports: ports(f.ports),
    endpointMode: oneOf(d.endpoint_mode, { vip: EndpointMode.VIP, dnsrr: EndpointMode.DNSRR }, EndpointMode.VIP),
  });
};
