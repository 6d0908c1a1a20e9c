// The flags --publish, --publish-add and --publish-rm, and how published ports are shown.
import type { Issue } from "#base/errors.ts";
import { PORT_REMEDY, pairRanges, parsePortRange, parseShortPort } from "#control-plane/specs/port-text.ts";
import { hostPorts, ingressPorts, MODES, PROTOCOLS, protocolName } from "#control-plane/specs/ports.ts";
import { splitPair } from "#control-plane/stack/quantities.ts";
import { type PortConfig, PortMode, PortProtocol } from "#proto/gen/types.ts";
import { splitFields } from "#tsctl/flags/csv.ts";
import { enumName } from "#tsctl/output/plain.ts";

const KEYS = ["published", "target", "protocol", "mode", "host_ip", "name"] as const;

const longPort = (written: string): PortConfig[] | readonly [reason: string, remedy: string] => {
  const given = new Map(splitFields(written).map(splitPair));
  const unknown = [...given.keys()].find((key) => !(KEYS as readonly string[]).includes(key));
  if (unknown !== undefined) return [`"${unknown}" is not supported in "${written}"`, `Use ${KEYS.join(", ")}`];
  const of = (key: (typeof KEYS)[number]): string => given.get(key) ?? "";
  const target = parsePortRange(of("target"));
  const published = of("published") === "" ? undefined : parsePortRange(of("published"));
  if (target === undefined || (of("published") !== "" && published === undefined))
    return [
      `"${written}" has no valid ${target ? "published" : "target"} port`,
      "Write it like published=8080,target=80",
    ];
  const protocol = PROTOCOLS[of("protocol") || "tcp"];
  const mode = MODES[of("mode") || "ingress"];
  if (protocol === undefined) return [`"${of("protocol")}" in "${written}" is no protocol`, "Use tcp, udp or sctp"];
  if (mode === undefined) return [`"${of("mode")}" in "${written}" is no mode`, "Use ingress or host"];
  const ports = pairRanges(published, target, { name: of("name"), protocol, mode, hostIp: of("host_ip") });
  return ports ?? [`the ranges in "${written}" have different sizes`, "Publish as many ports as there are targets"];
};

/** "8080:80", or "published=8080,target=80,protocol=tcp,mode=ingress,host_ip=192.0.2.1,name=http". */
export const parsePublish = (flag: string, written: string, issues: Issue[]): PortConfig[] => {
  const short = written.includes("=") ? undefined : parseShortPort(written);
  const read =
    short === undefined ? longPort(written) : typeof short === "string" ? ([short, PORT_REMEDY] as const) : short;
  if (typeof read[0] !== "string") return read as PortConfig[];
  const [reason, remedy] = read as readonly [string, string];
  issues.push({ field: flag, reason, remedy });
  return [];
};

const sameBinding = (a: PortConfig, b: PortConfig): boolean =>
  a.protocol === b.protocol &&
  a.published === b.published &&
  a.hostIp === b.hostIp &&
  (a.published !== 0 || (a.target === b.target && a.mode === b.mode));

/** As Docker: `--publish-rm 80` takes all ports of the target 80 away, "8080:80" only the one that is published as 8080. */
const isMeant = (port: PortConfig, given: PortConfig): boolean =>
  port.target === given.target &&
  port.protocol === given.protocol &&
  (given.published === 0 || port.published === given.published) &&
  (given.hostIp === "" || port.hostIp === given.hostIp);

/** One that is published already is replaced by what is added. */
export const changePorts = (
  current: readonly PortConfig[],
  added: readonly PortConfig[],
  removed: readonly PortConfig[],
): PortConfig[] => [
  ...current.filter(
    (p) => !removed.some((given) => isMeant(p, given)) && !added.some((other) => sameBinding(p, other)),
  ),
  ...added,
];

const hostOf = (ip: string): string => (ip === "" ? "*" : ip.includes(":") ? `[${ip}]` : ip);

/** "*:8080->80/tcp, *:9000-9002->90-92/tcp": ports in a row are one, as Docker shows them. */
const portList = (ports: readonly PortConfig[]): string => {
  const runs: { readonly first: PortConfig; readonly last: PortConfig }[] = [];
  const ordered = [...ports].sort(
    (a, b) => a.protocol - b.protocol || a.published - b.published || a.target - b.target,
  );
  for (const port of ordered) {
    const run = runs.at(-1);
    const { last } = run ?? {};
    const follows =
      last?.protocol === port.protocol &&
      last.hostIp === port.hostIp &&
      port.published === last.published + 1 &&
      port.target === last.target + 1;
    if (run !== undefined && follows) runs[runs.length - 1] = { first: run.first, last: port };
    else runs.push({ first: port, last: port });
  }
  const span = (from: number, to: number): string => (from === to ? `${from}` : `${from}-${to}`);
  return runs
    .map(
      ({ first, last }) =>
        `${hostOf(first.hostIp)}:${span(first.published, last.published)}->${span(first.target, last.target)}/${protocolName(first.protocol)}`,
    )
    .join(", ");
};

/** Of a service: what every node accepts. */
export const servicePorts = (ports: readonly PortConfig[]): string => portList(ingressPorts(ports));

/** Of a task: what its node publishes for it alone. */
export const taskPorts = (ports: readonly PortConfig[]): string =>
  portList(hostPorts(ports).filter((port) => port.published !== 0));

/** The lines of `inspect --pretty`, as Docker's. */
export const portLines = (ports: readonly PortConfig[]): string[] =>
  ports.flatMap(({ published, protocol, target, mode, hostIp, name }) => [
    `PublishedPort = ${published === 0 ? "chosen on each node" : published}`,
    `  Protocol = ${enumName(PortProtocol, protocol)}`,
    `  TargetPort = ${target}`,
    `  PublishMode = ${enumName(PortMode, mode)}`,
    ...(hostIp === "" ? [] : [`  HostIP = ${hostIp}`]),
    ...(name === "" ? [] : [`  Name = ${name}`]),
  ]);
