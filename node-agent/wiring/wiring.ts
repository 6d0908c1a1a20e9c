// The containers' networking on this node: what the view says and which tasks are here give the desired state, and the
// host is made equal to it. Changes gather while one is being applied; who waits for a change waits for an apply that
// began after it.
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { TswarmError } from "#base/errors.ts";
import type { Logger } from "#base/log.ts";
import { realClock, systemRandom } from "#base/node/system.ts";
import { Forwarder } from "#net/dns/forwarder.ts";
import { hostResolvers } from "#net/dns/host-resolvers.ts";
import { type ApplyReport, HostNetworking } from "#net/exec/host-networking.ts";
import { probeCapabilities } from "#net/kernel/capabilities.ts";
import { listListeners } from "#net/kernel/listeners.ts";
import { bridgeOptions, needsParent, parentFor } from "#net/model/driver-options.ts";
import { emptyHostNetworks, type HostNetworks } from "#net/model/host-networks.ts";
import { containerNs, isOurHostName } from "#net/model/ifname.ts";
import type { ContainerSpec } from "#node-agent/runtime/runtime.ts";
import type { View } from "#node-agent/session/view.ts";
import { emptyView } from "#node-agent/session/view.ts";
import { createAcknowledgements } from "#node-agent/wiring/acknowledgements.ts";
import { desiredNetworks, hostPortOf, type Self } from "#node-agent/wiring/desired.ts";
import { type Doctor, startDoctor } from "#node-agent/wiring/doctor.ts";
import { failureFor } from "#node-agent/wiring/failures.ts";
import { createNames } from "#node-agent/wiring/names.ts";
import { pauseMs, withoutNewBackends } from "#node-agent/wiring/pace.ts";
import { createPorts, takenBy } from "#node-agent/wiring/ports.ts";
import { objectInWords } from "#node-agent/wiring/words.ts";
import type { Network, Task } from "#proto/gen/types.ts";

const UPSTREAM_TIMEOUT_MS = 2_000;
const DEFAULT_DATA_PATH_PORT = 4789;

export type Wiring = {
  /** Wires the task: resolves when its addresses, and the endpoints that it may reach, are in the kernel. */
  attach(task: Task): Promise<ContainerSpec["netns"]>;
  /** A task that a former process of the agent has wired. */
  adopt(task: Task): void;
  /** Afterwards nothing of the task is in the kernel, also when a former process of the agent has wired it. */
  detach(taskId: string): Promise<void>;
  /**
   * `applied` is called when nothing that this view takes away is left in the kernel and in the names. New backends may come
   * later. Of several updates that are applied together only the last one's is called.
   */
  update(view: View, applied: () => void): void;
  setSelf(self: Omit<Self, "dataPathPort">): void;
  /** Where containers reach this node; empty until it is part of a cluster. */
  address(): string;
  setDataPathPort(port: number): void;
  /** Published ports that this host can't have, with the reason. */
  portErrors(): readonly string[];
  readonly doctor: Pick<Doctor, "examine" | "follow">;
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

/** Bridges of ours that have a name of the user's choice. */
const bridgesOfUsers = ({ networks }: View): ReadonlySet<string> =>
  new Set(
    [...networks.values()].flatMap(({ spec }) => (spec?.driver === "bridge" ? bridgeOptions(spec.options).name : [])),
  );

/** After this failed a container may still connect to a backend that has left. */
const leavesBackends = (object: string): boolean => object === "plan" || object.includes(": nft ");

/** Of what this node's kernel shows. A task whose status alone has changed is a new object too. */
const sameWiring = (a: Task | undefined, b: Task | undefined): boolean =>
  a === b ||
  (a?.desiredState === b?.desiredState &&
    isDeepStrictEqual(a?.attachments, b?.attachments) &&
    isDeepStrictEqual(a?.ports, b?.ports));

export type WiringOptions = {
  readonly runDir: string;
  readonly logger: Logger;
  /** The answer of `portErrors` has changed. */
  readonly onPortErrors: () => void;
};

export const startWiring = async ({ runDir, logger, onPortErrors }: WiringOptions): Promise<Wiring> => {
  const networking = await HostNetworking.start({ runDir }, (namespaces) => doctor.disturbed(namespaces));
  const forwarder = new Forwarder({
    upstreams: hostResolvers("/etc/resolv.conf"),
    clock: realClock,
    timeoutMs: UPSTREAM_TIMEOUT_MS,
  });
  const tasks = new Map<string, Task>();
  let view: View = emptyView;
  const ports = createPorts(null);
  let self: Omit<Self, "dataPathPort"> = { nodeId: "", vtep: "", hostname: "", labels: {} };
  let dataPathPort = DEFAULT_DATA_PATH_PORT;

  // ---- kernel -----------------------------------------------------------------------------------------------------
  let gathered: Promise<ApplyReport> | undefined;
  let applied = false;
  const acknowledgements = createAcknowledgements();
  /** The services that containers were wired for last, and from when on new backends are no more held back. */
  let services = view.services;
  let backendsAt = 0;
  let cancelBackends: (() => void) | undefined;
  /** Something that an update with an unchanged view would not bring again. */
  let stale = true;

  let lastDesired = emptyHostNetworks({ vtep: "", dataPathPort });

  /** Takes and gives back published ports; those that can't be had are left out. */
  const desired = (): HostNetworks => {
    const known = new Map([...tasks].map(([id, task]) => [id, view.tasks.get(id) ?? task]));
    const wanted = desiredNetworks(
      { ...view, services, tasks: known },
      { ...self, dataPathPort },
      new Set(tasks.keys()),
    );
    const before = ports.errors().join();
    const published = ports.hold(wanted.published);
    if (ports.errors().join() !== before) {
      for (const error of ports.errors()) logger.warn("port not published", { error });
      onPortErrors();
    }
    lastDesired = { ...wanted, published };
    return lastDesired;
  };

  const isWired = (): boolean => tasks.size > 0 || view.published.size > 0;

  /** Resolves when everything that is wanted now has been tried; new backends of services that have some may come later. */
  const apply = (): Promise<ApplyReport> => {
    if (self.vtep === "") return Promise.reject(new TswarmError("unavailable", "the node is not part of a cluster"));
    // A turn later: what else changes in this one is part of the same apply.
    gathered ??= gather();
    return gathered;
  };

  const gather = async (): Promise<ApplyReport> => {
    const underWay = acknowledgements.begin();
    let complete = false;
    try {
      await new Promise<void>((resolve) => setImmediate(resolve));
      gathered = undefined;
      stale = false;
      underWay.include();
      const due = realClock.monotonic() >= backendsAt;
      const wanted = due ? view.services : withoutNewBackends(view.services, services);
      const gained = due && wanted !== services;
      services = wanted;
      const report = await networking.apply(desired());
      complete = !report.errors.some((error) => leavesBackends(error.object));
      applied = true;
      stale ||= report.errors.length > 0;
      for (const error of report.errors) logger.error("not wired", { ...error });
      for (const error of report.flowErrors) logger.warn("flows to gone backends not looked for", { error });
      if (gained) backendsAt = realClock.monotonic() + pauseMs(report.durationUs);
      if (services !== view.services)
        cancelBackends ??= realClock.after(Math.max(backendsAt - realClock.monotonic(), 0), later);
      return report;
    } finally {
      underWay.end(complete);
    }
  };

  const doctor = startDoctor({
    clock: realClock,
    logger,
    isWired: () => self.vtep !== "" && isWired(),
    settle: () => apply(),
    repair: (namespaces) => networking.repair(desired(), namespaces),
    inspect: () => networking.inspect(desired()),
    portErrors: () => ports.errors(),
    objectInWords: (difference) =>
      objectInWords(difference, lastDesired, (id) => view.tasks.get(id)?.name ?? tasks.get(id)?.name ?? id),
  });

  const later = (): void => {
    cancelBackends = undefined;
    void apply().catch((error) => logger.warn("new backends not wired", { error }));
  };

  // ---- names ------------------------------------------------------------------------------------------------------
  const netnsPath = (taskId: string): string => join(runDir, "netns", containerNs(taskId));
  const names = createNames({ netnsPath, forwarder, random: systemRandom, view });
  /** Adopted, and their namespaces not yet known to be right. */
  const unnamed = new Map<string, Task>();

  const isolated = (task: Task): boolean => !usesHost(task, view);

  const refuseWithoutParent = (network: Network | undefined): void => {
    const { driver = "", options = {}, annotations } = network?.spec ?? {};
    if (!needsParent(driver) || parentFor(options, self) !== undefined) return;
    throw new TswarmError(
      "conflict",
      `network ${annotations?.name} has no parent interface for this node. Add --opt parent@${self.hostname}=… to it, or keep its services from here with a constraint`,
    );
  };

  /** Nothing is translated for a container on the host's network: it has to find its ports free. */
  const refuseTaken = (task: Task): void => {
    if (task.ports.length === 0) return;
    const listeners = listListeners(null);
    for (const port of task.ports) {
      const refusal = takenBy(listeners, hostPortOf(port));
      if (refusal) throw refusal;
    }
  };

  const serveNames = async (task: Task): Promise<void> => {
    if (task.attachments.length > 0) await names.serve(task);
  };

  const nameAdopted = (): void => {
    for (const task of unnamed.values()) {
      if (!isolated(task)) continue;
      serveNames(task).catch((error) => {
        logger.error("names not answered", { task: task.id, error });
        if (tasks.has(task.id)) unnamed.set(task.id, task);
        stale = true;
      });
    }
    unnamed.clear();
  };

  return {
    capabilities: probeCapabilities(),
    isOwn: (ifname) => isOurHostName(ifname) || bridgesOfUsers(view).has(ifname),
    async attach(task) {
      if (!isolated(task)) {
        refuseTaken(task);
        return "host";
      }
      for (const { networkId } of task.attachments) refuseWithoutParent(view.networks.get(networkId));
      tasks.set(task.id, task);
      const { errors } = await apply();
      for (const port of task.ports) {
        const refusal = ports.refusal(hostPortOf(port));
        if (refusal) throw refusal;
      }
      const failed = failureFor(task, view.networks, errors);
      if (failed) throw new TswarmError("internal", `networking: ${failed.object}: ${failed.reason}`);
      await serveNames(task);
      return { path: netnsPath(task.id) };
    },
    adopt(task) {
      tasks.set(task.id, task);
      unnamed.set(task.id, task);
      stale = true;
    },
    async detach(taskId) {
      unnamed.delete(taskId);
      await names.stop(taskId);
      // Until the first apply the kernel may have what this process knows nothing of.
      if (tasks.delete(taskId) || (!applied && self.vtep !== "")) await apply();
    },
    update(newView, whenApplied) {
      const before = view;
      view = newView;
      names.update(view);
      const same =
        (["networks", "endpoints", "services", "published"] as const).every((part) => view[part] === before[part]) &&
        [...tasks.keys()].every((id) => sameWiring(view.tasks.get(id), before.tasks.get(id)));
      acknowledgements.add(whenApplied);
      if (self.vtep === "" || (!isWired() && before.published.size === 0) || (same && !stale)) {
        acknowledgements.nothingToDo();
        return;
      }
      void apply()
        .then(nameAdopted)
        .catch((error) => logger.warn("view not applied", { error }));
    },
    doctor,
    portErrors: () => ports.errors(),
    address: () => self.vtep,
    setSelf(next) {
      if (!isDeepStrictEqual(next, self)) stale = true;
      self = next;
    },
    setDataPathPort(port) {
      if (port === 0 || port === dataPathPort) return;
      dataPathPort = port;
      stale = true;
    },
    async removeAll() {
      cancelBackends?.();
      cancelBackends = undefined;
      await names.stopAll();
      unnamed.clear();
      tasks.clear();
      ports.releaseAll();
      await networking.teardown();
    },
    async stop() {
      doctor.stop();
      cancelBackends?.();
      await names.stopAll();
      await networking.stop();
    },
  };
};
