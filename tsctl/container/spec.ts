// Flags of `tsctl run` to what a manager is asked for. They are read as those of a service, of which this is one task.
import { type Issue, refuseAll, TswarmError } from "#base/errors.ts";
import { AUTO_REMOVE_LABEL } from "#control-plane/specs/own-container.ts";
import { RunContainerRequest } from "#proto/gen/control.ts";
import { NetworkAttachmentConfig, PortMode, type ServiceSpec } from "#proto/gen/types.ts";
import type { RunFlags } from "#tsctl/container/options.ts";
import type { ServiceFlags } from "#tsctl/service/flags.ts";
import { newServiceSpec } from "#tsctl/service/spec.ts";

/** How a service's flags are called here. */
const NAMES: Readonly<Record<string, string>> = {
  "--container-label": "--label",
  "--host": "--add-host",
  "--limit-cpu": "--cpus",
  "--limit-memory": "--memory",
  "--limit-pids": "--pids-limit",
  "--stop-grace-period": "--stop-timeout",
};

/** "/srv/data:/data:ro" as a mount. */
const volume = (written: string, issues: Issue[]): string[] => {
  const [source = "", target = "", mode = "rw", ...more] = written.split(":");
  const bad = (reason: string, remedy: string): string[] => {
    issues.push({ field: "--volume", reason, remedy });
    return [];
  };
  if (target === "" || more.length > 0 || (mode !== "ro" && mode !== "rw"))
    return bad(`"${written}" is not a mount`, 'Write it like "/srv/data:/data" or "/srv/data:/data:ro"');
  if (!source.startsWith("/"))
    return bad(`"${source}" is not an absolute path; this version has no volumes`, "Name a path on the node");
  return [`type=bind,source=${source},target=${target}${mode === "ro" ? ",readonly" : ""}`];
};

/** "/run:size=64m" as a mount. */
const tmpfs = (written: string, issues: Issue[]): string[] => {
  const [target = "", ...options] = written.split(":");
  const size = /^size=([^,]+)$/.exec(options.join(":"))?.[1];
  if (options.length > 0 && size === undefined) {
    issues.push({ field: "--tmpfs", reason: `"${options.join(":")}" is not supported`, remedy: "Only size=… is" });
    return [];
  }
  return [`type=tmpfs,target=${target}${size === undefined ? "" : `,tmpfs-size=${size}`}`];
};

/** What Docker writes outside of --network belongs to the only network. */
const ownAttachment = (flags: RunFlags, spec: ServiceSpec, issues: Issue[]): NetworkAttachmentConfig[] => {
  const networks = spec.task!.networks;
  const given = [
    ...(["ip", "ip6", "macAddress"] as const).filter((key) => flags[key] !== undefined),
    ...(flags.networkAlias.length > 0 ? (["networkAlias"] as const) : []),
  ];
  if (given.length === 0) return networks;
  if (networks.length > 1) {
    const field = `--${given[0]!.replace(/[A-Z]/g, (c) => `-${c.toLowerCase()}`)}`;
    issues.push({ field, reason: "there are several networks", remedy: "Write it in --network name=…,ip=…,alias=…" });
  }
  const [first = NetworkAttachmentConfig.fromPartial({ target: "bridge" }), ...others] = networks;
  const own: NetworkAttachmentConfig = {
    ...first,
    ipv4: flags.ip === undefined ? first.ipv4 : [flags.ip],
    ipv6: flags.ip6 === undefined ? first.ipv6 : [flags.ip6],
    mac: flags.macAddress ?? first.mac,
    aliases: [...first.aliases, ...flags.networkAlias],
  };
  return [own, ...others];
};

const serviceFlags = (flags: RunFlags, issues: Issue[]): ServiceFlags => {
  const { label, addHost, cpus, memory, pidsLimit, stopTimeout, ...rest } = flags;
  if (stopTimeout !== undefined && !/^\d+$/.test(stopTimeout))
    issues.push({ field: "--stop-timeout", reason: `"${stopTimeout}" is no number`, remedy: "Write seconds" });
  return {
    ...rest,
    containerLabel: label,
    host: addHost,
    mount: [
      ...flags.mount,
      ...flags.volume.flatMap((item) => volume(item, issues)),
      ...flags.tmpfs.flatMap((item) => tmpfs(item, issues)),
    ],
    ...(cpus !== undefined && { limitCpu: cpus }),
    ...(memory !== undefined && { limitMemory: memory }),
    ...(pidsLimit !== undefined && { limitPids: pidsLimit }),
    ...(stopTimeout !== undefined && { stopGracePeriod: `${stopTimeout}s` }),
  };
};

/** Throws `invalid` naming every wrong flag. `node`: where it runs; empty: wherever there is room. */
export const runRequest = (
  image: string,
  args: readonly string[],
  flags: RunFlags,
  { env, node }: { readonly env: Readonly<Record<string, string | undefined>>; readonly node: string },
): RunContainerRequest => {
  const issues: Issue[] = [];
  if (flags.restart !== undefined && flags.restart !== "no")
    issues.push({
      field: "--restart",
      reason: "a container of its own is not started again when it ends",
      remedy: "Run a service: tsctl service create keeps its replicas running",
    });
  for (const port of flags.publish)
    if (/(^|,)mode=ingress(,|$)/.test(port))
      issues.push({
        field: "--publish",
        reason: "a container of its own can't publish in mode ingress",
        remedy: "Leave the mode out: its node has the port; or run a service",
      });
  let spec: ServiceSpec | undefined;
  try {
    spec = newServiceSpec(image, args, serviceFlags(flags, issues), { env });
  } catch (error) {
    if (!(error instanceof TswarmError) || error.issues.length === 0) throw error;
    issues.push(...error.issues.map((issue) => ({ ...issue, field: NAMES[issue.field] ?? issue.field })));
  }
  const networks = spec === undefined ? [] : ownAttachment(flags, spec, issues);
  refuseAll("The command", issues);
  const { task, ports } = spec!;
  const container = task!.container!;
  const labels = flags.rm ? { ...container.labels, [AUTO_REMOVE_LABEL]: "true" } : container.labels;
  return RunContainerRequest.fromPartial({
    name: flags.name ?? "",
    node,
    spec: { ...task!, networks, container: { ...container, labels } },
    ports: ports.map((port) => ({ ...port, mode: PortMode.HOST })),
  });
};
