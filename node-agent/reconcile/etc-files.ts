// /etc/hosts, /etc/hostname and /etc/resolv.conf of a container, as Docker writes them. Written before it is created and
// bound into it; what the container writes into them stays. While it runs only lines of its own addresses come and go.
import { readFileSync, writeFileSync } from "node:fs";
import { hostname as hostsName } from "node:os";
import { parseResolvConf } from "#net/dns/resolv-conf.ts";
import type { TaskPaths } from "#node-agent/reconcile/task-files.ts";
import type { ContainerSpec } from "#node-agent/runtime/runtime.ts";
import type { Task } from "#proto/gen/types.ts";

const HOSTS = "/etc/hosts";
const RESOLV_CONF = "/etc/resolv.conf";
const LOOPBACK = [
  "127.0.0.1\tlocalhost",
  "::1\tlocalhost ip6-localhost ip6-loopback",
  "fe00::\tip6-localnet",
  "ff00::\tip6-mcastprefix",
  "ff02::1\tip6-allnodes",
  "ff02::2\tip6-allrouters",
];

/** On the host's network a container has the host's name. */
export const hostnameOf = (task: Task, netns: ContainerSpec["netns"]): string =>
  task.spec?.container?.hostname || (netns === "host" ? hostsName() : task.id.slice(0, 12));

export type EtcInput = {
  readonly task: Task;
  readonly netns: ContainerSpec["netns"];
  readonly paths: TaskPaths;
  /** What `host-gateway` stands for: an address of this node that containers reach. */
  readonly hostGateway: string;
};

export const writeEtcFiles = ({ task, netns, paths, hostGateway }: EtcInput): void => {
  const hostname = hostnameOf(task, netns);
  const { hosts = [], dns = [], dnsSearch: search = [], dnsOptions: options = [] } = task.spec?.container ?? {};
  const { attachments } = task;
  const extra = extraHosts(hosts, hostGateway);
  writeFileSync(
    paths.hosts,
    netns === "host" ? `${readIfThere(HOSTS)}${extra}` : `${hostsFile({ hostname, attachments })}${extra}`,
  );
  writeFileSync(paths.hostname, `${hostname}\n`);
  const named = attachments.some((a) => a.ipv4 !== "" || a.ipv6 !== "");
  const network = netns === "host" ? "host" : named ? "named" : "none";
  writeFileSync(paths.resolvConf, resolvConfFile({ network, dns, search, options, host: readIfThere(RESOLV_CONF) }));
};

const readIfThere = (path: string): string => {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return "";
    throw error;
  }
};

/** Loopback, then the container's own addresses. */
export const hostsFile = ({
  hostname,
  attachments,
}: {
  hostname: string;
  attachments: Task["attachments"];
}): string => {
  return [...LOOPBACK, ...ownLines(hostname, attachments), ""].join("\n");
};

const ownLines = (hostname: string, attachments: Task["attachments"]): string[] => {
  const dot = hostname.indexOf(".");
  const names = dot > 0 ? `${hostname} ${hostname.slice(0, dot)}` : hostname;
  return attachments.flatMap(({ ipv4, ipv6 }) =>
    [ipv4, ipv6].filter((a) => a !== "").map((address) => `${address.split("/", 1)[0]}\t${names}`),
  );
};

/** The file after the container was connected to networks or taken from some; everything else in it stays. */
export const changedHosts = (
  file: string,
  hostname: string,
  before: Task["attachments"],
  after: Task["attachments"],
): string => {
  const wanted = ownLines(hostname, after);
  const gone = new Set(ownLines(hostname, before).filter((line) => !wanted.includes(line)));
  const lines = file.split("\n").filter((line) => !gone.has(line));
  const added = wanted.filter((line) => !lines.includes(line));
  if (lines.at(-1) === "") lines.pop();
  return [...lines, ...added, ""].join("\n");
};

/** In place: the container has this very file. */
export const rewriteHosts = (paths: TaskPaths, before: Task, after: Task): void => {
  const file = readIfThere(paths.hosts);
  const next = changedHosts(file, hostnameOf(after, { path: "" }), before.attachments, after.attachments);
  if (next !== file) writeFileSync(paths.hosts, next);
};

/** "name:address" each; an IPv6 address may be in brackets. */
export const extraHosts = (hosts: readonly string[], hostGateway: string): string =>
  hosts
    .map((entry) => {
      const at = entry.indexOf(":");
      const address = entry.slice(at + 1).replace(/^\[(.*)\]$/, "$1");
      return `${address === "host-gateway" ? hostGateway : address}\t${entry.slice(0, at)}\n`;
    })
    .join("");

export type ResolvConfInput = {
  /** "named": the agent answers at 127.0.0.11. "none": a container without any network. */
  readonly network: "named" | "host" | "none";
  /** What the user gave: each replaces the host's. */
  readonly dns: readonly string[];
  /** "." alone: no search domains. */
  readonly search: readonly string[];
  readonly options: readonly string[];
  /** The host's file. */
  readonly host: string;
};

/**
 * On the host's network the host's file, unless the user gave something. Else the host's search domains and options are
 * taken over, but not its `ndots`: names without a dot are the cluster's first.
 */
export const resolvConfFile = ({ network, dns, search, options, host }: ResolvConfInput): string => {
  if (network === "host" && dns.length + search.length + options.length === 0) return host;
  const inherited = parseResolvConf(host);
  const searched = search.length > 0 ? search.filter((domain) => domain !== ".") : inherited.search;
  const hostOptions =
    network === "named" ? inherited.options.filter((o) => !o.startsWith("ndots:")) : inherited.options;
  const chosen = [...(options.length > 0 ? options : hostOptions)];
  if (network === "named" && !chosen.some((o) => o.startsWith("ndots:"))) chosen.push("ndots:0");
  const outside = dns.length > 0 ? dns : inherited.nameservers;
  // The loopback address of a container without a network is not the host's.
  const reached = network === "none" ? outside.filter((a) => !/^(127\.|::1$)/.test(a)) : outside;
  return [
    "# Written by tswarm when the container was created.",
    ...(network === "named" ? ["nameserver 127.0.0.11"] : reached.map((a) => `nameserver ${a}`)),
    ...(searched.length > 0 ? [`search ${searched.join(" ")}`] : []),
    ...(chosen.length > 0 ? [`options ${chosen.join(" ")}`] : []),
    ...(network === "named" ? [`# Other names are asked of: ${outside.join(" ") || "nobody"}`] : []),
    "",
  ].join("\n");
};
