import {
  EndpointMode,
  FailureAction,
  type NetworkAttachmentConfig,
  type Service,
  type UpdateConfig,
  UpdateOrder,
  UpdateState,
} from "#proto/gen/types.ts";
import type { Verb } from "#tsctl/cli.ts";
import { renderFields } from "#tsctl/output/fields.ts";
import { humanMemory, shortDuration } from "#tsctl/output/human.ts";
import { type InspectOptions, inspectOptions, printInspect } from "#tsctl/output/inspect.ts";
import { enumName, plain } from "#tsctl/output/plain.ts";
import { portLines } from "#tsctl/service/ports.ts";

const policy = (config: UpdateConfig | undefined): string | undefined =>
  config &&
  `${config.parallelism === 0 ? "all" : config.parallelism} at once, ${shortDuration(config.delayMs)} apart, ` +
    `${enumName(UpdateOrder, config.order)}, watched for ${shortDuration(config.monitorMs)}, ` +
    `on failure ${enumName(FailureAction, config.failureAction)}`;

const attachment = (name: string, config: NetworkAttachmentConfig): string =>
  [
    name,
    ...config.aliases.map((alias) => `alias ${alias}`),
    ...[...config.ipv4, ...config.ipv6].map((address) => `address ${address}`),
    ...(config.mac === "" ? [] : [`MAC ${config.mac}`]),
    ...(config.interfaceName === "" ? [] : [`interface ${config.interfaceName}`]),
    ...(config.gatewayPriority === 0 ? [] : [`gateway priority ${config.gatewayPriority}`]),
    ...Object.entries(config.sysctls).map(([key, value]) => `${key}=${value}`),
  ].join(", ");

const pretty = (service: Service, networks: ReadonlyMap<string, string>): string => {
  const spec = service.spec;
  const task = spec?.task;
  const c = task?.container;
  const status = service.updateStatus;
  const name = (id: string) => networks.get(id) ?? id;
  return renderFields([
    ["ID", service.id],
    ["Name", spec?.annotations?.name],
    ["Labels", spec?.annotations?.labels],
    ["Service mode", `replicated, ${spec?.replicas} replicas`],
    ["Update status", status?.state ? `${enumName(UpdateState, status.state)} ${status.message}`.trim() : undefined],
    ["Update", policy(spec?.update)],
    ["Rollback", policy(spec?.rollback)],
    ["Image", c && `${c.image}${c.imageDigest ? `@${c.imageDigest}` : ""}`],
    ["Entrypoint", c?.command.join(" ")],
    ["Args", c?.args.join(" ")],
    ["Env", c?.env],
    ["Dir", c?.dir],
    ["User", c?.user],
    ["Mounts", c?.mounts.map((m) => `${m.type} ${m.source} -> ${m.target}${m.readOnly ? " (read-only)" : ""}`)],
    ["CPU limit", task?.limits?.nanoCpus ? task.limits.nanoCpus / 1e9 : undefined],
    ["Memory limit", task?.limits?.memoryBytes ? humanMemory(task.limits.memoryBytes) : undefined],
    ["Constraints", task?.placement?.constraints],
    ["DNS servers", c?.dns],
    ["DNS search", c?.dnsSearch],
    ["DNS options", c?.dnsOptions],
    ["Hosts", c?.hosts],
    ["Sysctls", c?.sysctls],
    ["Networks", task?.networks.map((n) => attachment(name(n.target), n))],
    ["Endpoint mode", enumName(EndpointMode, spec?.endpointMode ?? 0)],
    ["Drain timeout", task?.drainMs === undefined ? undefined : shortDuration(task.drainMs)],
    ["Ports", portLines(service.ports)],
    ["Virtual IPs", service.vips.map((v) => `${name(v.networkId)} ${[v.ipv4, v.ipv6].filter(Boolean).join(" ")}`)],
  ]);
};

export const serviceInspect: Verb = (noun, cli) =>
  inspectOptions(noun.command("inspect").description("Show services in detail"))
    .argument("<service...>", "name, id or unique beginning of an id")
    .option("--pretty", "as text")
    .action(async (refs: string[], options: InspectOptions & { pretty?: true }) => {
      const control = await cli.control();
      const services = [];
      for (const ref of refs) services.push((await control.getService({ ref })).service!);
      if (!options.pretty)
        return printInspect(
          cli,
          services.map((service) => plain(service)),
          options,
        );
      const { networks } = await control.listNetworks({ filters: [] });
      const names = new Map(networks.map((n) => [n.id, n.spec?.annotations?.name ?? n.id]));
      for (const service of services) cli.out.write(pretty(service, names));
    });
