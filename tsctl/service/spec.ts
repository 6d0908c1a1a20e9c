// Flags to service specs, without a server: a new spec, or a change of one that exists. All wrong flags are told at once.
import { type Issue, refuseAll } from "#base/errors.ts";
import {
  FAILURE_ACTIONS,
  RESTART_CONDITIONS,
  ROLLBACK_FAILURE_ACTIONS,
  restartPolicy,
  UPDATE_ORDERS,
  updateConfig,
} from "#control-plane/stack/policies.ts";
import { splitCommand, splitPair } from "#control-plane/stack/quantities.ts";
import { ContainerSpec, EndpointMode, Resources, ServiceSpec, TaskSpec, type UpdateConfig } from "#proto/gen/types.ts";
import { type FlagReader, flagReader } from "#tsctl/flags/amounts.ts";
import { parseMount, parseNetwork } from "#tsctl/service/attachments.ts";
import { flagName, type ListKey, type PolicyKey, type ServiceFlags } from "#tsctl/service/flags.ts";
import { changePorts, parsePublish } from "#tsctl/service/ports.ts";

export type FlagContext = {
  /** For `-e NAME`. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Id of a network that exists already, by name: attachments of a stored spec hold ids. */
  readonly networkId?: (name: string) => string;
};

type Policy = "update" | "rollback";

const policy = (flags: ServiceFlags, kind: Policy, current: UpdateConfig | undefined, read: FlagReader) => {
  const get = (key: PolicyKey) => [flagName(`${kind}${key}`), flags[`${kind}${key}`]] as const;
  const part = {
    parallelism: read.count(...get("Parallelism")),
    delayMs: read.duration(...get("Delay")),
    monitorMs: read.duration(...get("Monitor")),
    maxFailureRatio: read.ratio(...get("MaxFailureRatio")),
    order: read.choice(...get("Order"), UPDATE_ORDERS),
    failureAction: read.choice(...get("FailureAction"), kind === "update" ? FAILURE_ACTIONS : ROLLBACK_FAILURE_ACTIONS),
  };
  return Object.values(part).some((value) => value !== undefined) ? updateConfig(part, current) : current;
};

const restart = (flags: ServiceFlags, current: TaskSpec["restart"], read: FlagReader) => {
  const part = {
    condition: read.choice("--restart-condition", flags.restartCondition, RESTART_CONDITIONS),
    delayMs: read.duration("--restart-delay", flags.restartDelay),
    maxAttempts: read.count("--restart-max-attempts", flags.restartMaxAttempts),
    windowMs: read.duration("--restart-window", flags.restartWindow),
  };
  return Object.values(part).some((value) => value !== undefined) ? restartPolicy(part, current) : current;
};

const resources = (current: Resources | undefined, part: { [K in keyof Resources]: number | undefined }) => {
  const given = Object.entries(part).filter(([, value]) => value !== undefined);
  return given.length === 0 ? current : Resources.fromPartial({ ...current, ...Object.fromEntries(given) });
};

const commandFlag = (flag: string, written: string | undefined, current: string[], issues: Issue[]): string[] => {
  if (written === undefined) return current;
  const words = splitCommand(written);
  if (!words) issues.push({ field: flag, reason: "a quote is not closed", remedy: "Close it" });
  return words ?? current;
};

/** Lists and mappings with what --x or --x-add add, without what --x-rm removes. */
const changes = (flags: ServiceFlags, read: FlagReader) => {
  const added = (key: ListKey) => flags[key] ?? flags[`${key}Add`] ?? [];
  const removed = (key: ListKey) => flags[`${key}Rm`] ?? [];
  const name = (key: ListKey) => flagName(flags[key] ? key : `${key}Add`);
  const map = (
    key: ListKey,
    current: Readonly<Record<string, string>>,
    inherit: (name: string) => string | undefined = () => "",
  ) => {
    const out = { ...current };
    for (const item of removed(key)) delete out[item];
    for (const item of added(key)) {
      const [k, v] = splitPair(item);
      const value = item.includes("=") ? v : inherit(k);
      if (k === "")
        read.issues.push({ field: name(key), reason: `"${item}" has no name`, remedy: "Write it like name=value" });
      else if (value !== undefined) out[k] = value;
    }
    return out;
  };
  const list = (key: ListKey, current: readonly string[], parse: (item: string) => string = (x) => x) => {
    const gone = new Set(removed(key).map(parse));
    return [...new Set([...current.filter((item) => !gone.has(item)), ...added(key).map(parse)])];
  };
  return { added, removed, name, map, list };
};

const spreadOf = (flag: string, issues: Issue[]) => (written: string) => {
  const [key, value] = splitPair(written);
  if (key !== "spread" || value === "")
    issues.push({
      field: flag,
      reason: `"${written}" is not a preference`,
      remedy: 'Write it like "spread=node.labels.dc"',
    });
  return value;
};

const hostOf = (flag: string, issues: Issue[]) => (written: string) => {
  if (!/^[^:\s]+:\S+$/.test(written))
    issues.push({ field: flag, reason: `"${written}" is not a host`, remedy: 'Write it like "db:10.0.0.5"' });
  return written;
};

const capabilities = (add: readonly string[], drop: readonly string[], current: ContainerSpec) => {
  const without = (list: readonly string[], gone: readonly string[]) => list.filter((cap) => !gone.includes(cap));
  return {
    capAdd: [...new Set([...without(current.capAdd, drop), ...add])],
    capDrop: [...new Set([...without(current.capDrop, add), ...drop])],
  };
};

const container = (
  current: ContainerSpec,
  flags: ServiceFlags,
  context: FlagContext,
  read: FlagReader,
): ContainerSpec => {
  const { added, removed, name, map, list } = changes(flags, read);
  const mounts = added("mount").map((item) => parseMount(name("mount"), item, read.issues));
  const replaced = new Set([...removed("mount"), ...mounts.map((m) => m.target)]);
  return {
    ...current,
    ...capabilities(flags.capAdd ?? [], flags.capDrop ?? [], current),
    image: flags.image ?? current.image,
    // The server pins the image anew.
    imageDigest: flags.image === undefined ? current.imageDigest : "",
    command: commandFlag("--entrypoint", flags.entrypoint, current.command, read.issues),
    args: commandFlag("--args", flags.args, current.args, read.issues),
    env: map("env", current.env, (key) => context.env[key]),
    labels: map("containerLabel", current.labels),
    sysctls: map("sysctl", current.sysctls),
    dir: flags.workdir ?? current.dir,
    user: flags.user ?? current.user,
    hostname: flags.hostname ?? current.hostname,
    tty: flags.tty ?? current.tty,
    init: flags.init ?? current.init,
    readOnly: flags.readOnly ?? current.readOnly,
    stopSignal: flags.stopSignal ?? current.stopSignal,
    stopGraceMs: read.duration("--stop-grace-period", flags.stopGracePeriod) ?? current.stopGraceMs,
    hosts: list("host", current.hosts, hostOf(name("host"), read.issues)),
    dns: list("dns", current.dns),
    dnsOptions: list("dnsOption", current.dnsOptions),
    dnsSearch: list("dnsSearch", current.dnsSearch),
    mounts: [...current.mounts.filter((m) => !replaced.has(m.target)), ...mounts],
  };
};

const networks = (current: TaskSpec["networks"], flags: ServiceFlags, context: FlagContext, read: FlagReader) => {
  const { added, removed, name } = changes(flags, read);
  const same = (written: string) => (target: string) => target === written || target === context.networkId?.(written);
  const gone = removed("network").map(same);
  const out = current.filter((attached) => !gone.some((matches) => matches(attached.target)));
  for (const item of added("network")) {
    const wanted = parseNetwork(name("network"), item, read.issues);
    if (out.some((attached) => same(wanted.target)(attached.target)))
      read.issues.push({
        field: name("network"),
        reason: `the service is attached to "${wanted.target}" already`,
        remedy: "Name each network once",
      });
    out.push(wanted);
  }
  return out;
};

const ports = (current: ServiceSpec["ports"], flags: ServiceFlags, read: FlagReader) => {
  const { added, removed, name } = changes(flags, read);
  return changePorts(
    current,
    added("publish").flatMap((item) => parsePublish(name("publish"), item, read.issues)),
    removed("publish").flatMap((item) => parsePublish("--publish-rm", item, read.issues)),
  );
};

const apply = (base: ServiceSpec, flags: ServiceFlags, context: FlagContext): ServiceSpec => {
  const read = flagReader();
  const { name, map, list } = changes(flags, read);
  const task = base.task ?? TaskSpec.fromPartial({});
  const maxPerNode = read.count("--replicas-max-per-node", flags.replicasMaxPerNode);
  read.choice("--mode", flags.mode, { replicated: true });
  const spec: ServiceSpec = {
    annotations: {
      name: flags.name ?? base.annotations?.name ?? "",
      labels: map("label", base.annotations?.labels ?? {}),
    },
    task: {
      ...task,
      container: container(task.container ?? ContainerSpec.fromPartial({}), flags, context, read),
      limits: resources(task.limits, {
        nanoCpus: read.cpus("--limit-cpu", flags.limitCpu),
        memoryBytes: read.size("--limit-memory", flags.limitMemory),
        pids: read.count("--limit-pids", flags.limitPids),
      }),
      reservations: resources(task.reservations, {
        nanoCpus: read.cpus("--reserve-cpu", flags.reserveCpu),
        memoryBytes: read.size("--reserve-memory", flags.reserveMemory),
        pids: undefined,
      }),
      restart: restart(flags, task.restart, read),
      placement: {
        constraints: list("constraint", task.placement?.constraints ?? []),
        spread: list("placementPref", task.placement?.spread ?? [], spreadOf(name("placementPref"), read.issues)),
        maxReplicasPerNode: maxPerNode ?? task.placement?.maxReplicasPerNode ?? 0,
      },
      networks: networks(task.networks, flags, context, read),
      drainMs: read.duration("--drain-timeout", flags.drainTimeout) ?? task.drainMs,
      forceUpdate: task.forceUpdate + (flags.force ? 1 : 0),
    },
    replicas: read.count("--replicas", flags.replicas) ?? base.replicas,
    update: policy(flags, "update", base.update, read),
    rollback: policy(flags, "rollback", base.rollback, read),
    endpointMode:
      read.choice("--endpoint-mode", flags.endpointMode, { vip: EndpointMode.VIP, dnsrr: EndpointMode.DNSRR }) ??
      base.endpointMode,
    ports: ports(base.ports, flags, read),
  };
  refuseAll("The command", read.issues);
  return spec;
};

/** Throws `invalid` naming every wrong flag. */
export const newServiceSpec = (
  image: string,
  args: readonly string[],
  flags: ServiceFlags,
  context: FlagContext,
): ServiceSpec => {
  const base = ServiceSpec.fromPartial({
    task: { container: { image, args: [...args] } },
    replicas: 1,
    endpointMode: EndpointMode.VIP,
  });
  return apply(base, flags, context);
};

export const changedServiceSpec = (current: ServiceSpec, flags: ServiceFlags, context: FlagContext): ServiceSpec =>
  apply(current, flags, context);
