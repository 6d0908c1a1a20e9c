// The containers' networking on this node: what the view says and which tasks are here give the desired state, and the
// host is made equal to it. Changes gather while one is being applied; who waits for a change waits for an apply that
// began after it.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { TswarmError } from "#base/errors.ts";
import type { Logger } from "#base/log.ts";
import { realClock, systemRandom } from "#base/node/system.ts";
import { Forwarder } from "#net/dns/forwarder.ts";
import { parseResolvConf } from "#net/dns/resolv-conf.ts";
import { DnsServer } from "#net/dns/server.ts";
import { type ApplyReport, HostNetworking } from "#net/exec/host-networking.ts";
import { probeCapabilities } from "#net/kernel/capabilities.ts";
import { tcpListenerIn, udpSocketIn } from "#net/kernel/sockets.ts";
import { containerNs, isOurHostName, overlayNs } from "#net/model/ifname.ts";
import type { ContainerSpec } from "#node-agent/runtime/runtime.ts";
import type { View } from "#node-agent/session/view.ts";
import { emptyView } from "#node-agent/session/view.ts";
import { desiredNetworks } from "#node-agent/wiring/desired.ts";
import { type Zones, zonesOf } from "#node-agent/wiring/zones.ts";
import type { Task } from "#proto/gen/types.ts";

const DNS_ADDRESS = "127.0.0.11";
const DNS_PORT = 53;
const UPSTREAM_TIMEOUT_MS = 2_000;
const DEFAULT_DATA_PATH_PORT = 4789;

export type Wiring = {
  /** Wires the task: resolves when its addresses, and the endpoints that it may reach, are in the kernel. */
  attach(task: Task): Promise<ContainerSpec["netns"]>;
  /** A task that a former process of the agent has wired. */
  adopt(task: Task): void;
  /** Afterwards nothing of the task is in the kernel, also when a former process of the agent has wired it. */
  detach(taskId: string): Promise<void>;
  update(view: View): void;
  setAddress(vtep: string): void;
  setDataPathPort(port: number): void;
  /** A link of the host's namespace that is ours. */
  isOwn(ifname: string): boolean;
  /** Kernel feature -> "" or why it can't be had. */
  readonly capabilities: Readonly<Record<string, string>>;
  /** Everything that is ours leaves the kernel. */
  removeAll(): Promise<void>;
  /** Containers go on with what they have; their names are not answered until an agent runs again. */
  stop(): Promise<void>;
};

const HOST_NETWORK = "host";
const usesHost = (task: Task, view: View): boolean =>
  task.attachments.some((a) => view.networks.get(a.networkId)?.spec?.driver === HOST_NETWORK);

/** Where something may fail that this task needs. */
const namespacesOf = (task: Task, view: View): string[] => [
  "",
  containerNs(task.id),
  ...task.attachments.map((a) => overlayNs(view.networks.get(a.networkId)?.vni ?? 0)),
];

export const startWiring = async ({ runDir, logger }: { runDir: string; logger: Logger }): Promise<Wiring> => {
  const networking = await HostNetworking.start({ runDir });
  const forwarder = new Forwarder({
    upstreams: parseResolvConf(readFileSync("/etc/resolv.conf", "utf8")),
    clock: realClock,
    timeoutMs: UPSTREAM_TIMEOUT_MS,
  });
  const tasks = new Map<string, Task>();
  const servers = new Map<string, DnsServer>();
  let view: View = emptyView;
  let zones: Zones = zonesOf(view);
  let vtep = "";
  let dataPathPort = DEFAULT_DATA_PATH_PORT;

  // ---- kernel -----------------------------------------------------------------------------------------------------
  let gathered: Promise<ApplyReport> | undefined;
  let applied = false;

  /** Resolves when everything that is wanted now has been tried. */
  const apply = (): Promise<ApplyReport> => {
    if (vtep === "") return Promise.reject(new TswarmError("unavailable", "the node is not part of a cluster"));
    // A turn later: what else changes in this one is part of the same apply.
    gathered ??= new Promise<void>((resolve) => setImmediate(resolve)).then(async () => {
      gathered = undefined;
      const report = await networking.apply(
        desiredNetworks({ ...view, tasks }, { vtep, dataPathPort }, new Set(tasks.keys())),
      );
      applied = true;
      for (const error of report.errors) logger.error("not wired", { ...error });
      return report;
    });
    return gathered;
  };

  // ---- names ------------------------------------------------------------------------------------------------------
  const netnsPath = (taskId: string): string => join(runDir, "netns", containerNs(taskId));

  const serveNames = async (task: Task): Promise<void> => {
    if (servers.has(task.id) || task.attachments.length === 0) return;
    const netns = netnsPath(task.id);
    const server = await DnsServer.start({
      udpFd: udpSocketIn(netns, DNS_ADDRESS, DNS_PORT),
      tcpFd: tcpListenerIn(netns, DNS_ADDRESS, DNS_PORT),
      zone: zones.of(task),
      forwarder,
      random: systemRandom,
    });
    servers.set(task.id, server);
  };

  const isolated = (task: Task): boolean => !usesHost(task, view);

  return {
    capabilities: probeCapabilities(),
    isOwn: isOurHostName,
    async attach(task) {
      if (!isolated(task)) return "host";
      tasks.set(task.id, task);
      const { errors } = await apply();
      const failed = errors.find((e) => namespacesOf(task, view).includes(e.namespace));
      if (failed) throw new TswarmError("internal", `networking: ${failed.object}: ${failed.reason}`);
      await serveNames(task);
      return { path: netnsPath(task.id) };
    },
    adopt(task) {
      tasks.set(task.id, task);
    },
    async detach(taskId) {
      const server = servers.get(taskId);
      servers.delete(taskId);
      await server?.close();
      // Until the first apply the kernel may have what this process knows nothing of.
      if (tasks.delete(taskId) || (!applied && vtep !== "")) await apply();
    },
    update(newView) {
      view = newView;
      zones = zonesOf(view);
      for (const [id, server] of servers) server.update(zones.of(tasks.get(id)!));
      if (vtep === "" || tasks.size === 0) return;
      void apply()
        .then(async () => {
          // Adopted containers get their names back once their namespace is known to be right.
          for (const task of tasks.values()) if (isolated(task)) await serveNames(task);
        })
        .catch((error) => logger.warn("view not applied", { error }));
    },
    setAddress(address) {
      vtep = address;
    },
    setDataPathPort(port) {
      if (port !== 0) dataPathPort = port;
    },
    async removeAll() {
      await Promise.all([...servers.values()].map((s) => s.close()));
      servers.clear();
      tasks.clear();
      await networking.teardown();
    },
    async stop() {
      await Promise.all([...servers.values()].map((s) => s.close()));
      await networking.stop();
    },
  };
};
