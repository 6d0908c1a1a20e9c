// From the node's view to what this host's networking should be. Pure.

import { parentFor } from "#net/model/driver-options.ts";
import type {
  Attachment,
  Driver,
  HostNetwork,
  HostNetworks,
  LocalContainer,
  Mesh,
  MeshMember,
  NodeDataPath,
  PublishedPort,
  RemoteEndpoint,
  VirtualService,
} from "#net/model/host-networks.ts";
import { containerNs } from "#net/model/ifname.ts";
import { meshMac } from "#net/model/mac.ts";
import type { Endpoint, PublishedService, ServiceEndpoint } from "#proto/gen/dispatcher.ts";
import { type Network, type PortConfig, PortProtocol, type Task, TaskState } from "#proto/gen/types.ts";

/** The networking part of the node's view. */
export type NetworkView = {
  readonly tasks: ReadonlyMap<string, Task>;
  /** By network id. */
  readonly networks: ReadonlyMap<string, Network>;
  readonly endpoints: ReadonlyMap<string, Endpoint>;
  readonly services: ReadonlyMap<string, ServiceEndpoint>;
  readonly published: ReadonlyMap<string, PublishedService>;
};

type HostPort = Pick<PublishedPort, "protocol" | "port" | "hostIp">;

export type Self = NodeDataPath & {
  readonly nodeId: string;
  readonly hostname: string;
  /** Those that managers gave the node, and the host's own. */
  readonly labels: Readonly<Record<string, string>>;
};

const DRIVERS: readonly Driver[] = ["none", "host", "bridge", "overlay", "macvlan", "ipvlan"];

/**
 * `wired`: ids of the tasks that need their namespace now (PREPARING or later, not ended). Only networks that one of them
 * is on are wired; an attachment to a network that the view does not have (yet) is left out.
 */
export const desiredNetworks = (view: NetworkView, self: Self, wired: ReadonlySet<string>): HostNetworks => {
  const tasks = [...view.tasks.values()].filter((task) => wired.has(task.id));
  const ingress = [...view.networks.values()].find((network) => network.spec?.ingress);
  const mesh = ingress && meshOf(ingress, view.endpoints.values(), self);
  const containers = tasks.map((task) => containerOf(task, view.networks));
  const used = new Set(containers.flatMap((c) => c.attachments.map((a) => a.networkId)));
  if (mesh !== undefined && view.published.size > 0) used.add(ingress!.id);
  const services = Map.groupBy(view.services.values(), (s: ServiceEndpoint) => s.networkId);
  return {
    node: { vtep: self.vtep, dataPathPort: self.dataPathPort },
    networks: [...used].map((id) => ({
      ...networkOf(view.networks.get(id)!, services.get(id) ?? [], self),
      ...(mesh !== undefined && id === ingress!.id && { mesh }),
    })),
    containers,
    remotes: [...view.endpoints.values()]
      .filter((e) => used.has(e.networkId) && e.vtep !== "" && !isMember(e))
      .map(remoteOf),
    published: [
      ...(mesh === undefined ? [] : [...view.published.values()].flatMap(publishedPortsOf)),
      ...tasks.flatMap((task) => hostPortsOf(task, view.networks)),
    ],
  };
};

/** Endpoints without a task are the nodes' own, on the network of published ports. */
const isMember = (endpoint: Endpoint): boolean => endpoint.taskId === "";

/** undefined as long as this node has no address on it. */
const meshOf = (network: Network, endpoints: Iterable<Endpoint>, { nodeId, vtep }: Self): Mesh | undefined => {
  const own = network.nodes.find((node) => node.nodeId === nodeId);
  if (own === undefined) return undefined;
  const others: MeshMember[] = [];
  for (const e of endpoints)
    if (e.networkId === network.id && isMember(e) && e.nodeId !== nodeId && e.vtep !== "")
      others.push({ ipv4: e.ipv4, ipv6: e.ipv6, mac: e.mac, vtep: e.vtep });
  return { self: { ipv4: own.ipv4, ipv6: own.ipv6, mac: meshMac(network.id, nodeId), vtep }, others };
};

const PROTOCOLS = { [PortProtocol.UDP]: "udp", [PortProtocol.SCTP]: "sctp" } as const;

export const hostPortOf = ({ protocol, published, hostIp }: PortConfig): HostPort => ({
  protocol: (PROTOCOLS as Partial<Record<PortProtocol, "udp" | "sctp">>)[protocol] ?? "tcp",
  port: published,
  hostIp,
});

const publishedPort = (port: PortConfig, backends: PublishedPort["backends"]): PublishedPort => ({
  ...hostPortOf(port),
  target: port.target,
  backends,
});

const publishedPortsOf = ({ ports, backends }: PublishedService): PublishedPort[] =>
  ports.map((port) =>
    publishedPort(
      port,
      backends.map(({ ipv4, ipv6 }) => ({ ipv4, ipv6 })),
    ),
  );

/**
 * Ports of mode host: behind the address that the task has on a bridge of this node, else on the network of published ports.
 * A task that is to stop gets no new connections.
 */
const hostPortsOf = (task: Task, networks: ReadonlyMap<string, Network>): PublishedPort[] => {
  if (task.ports.length === 0 || task.desiredState > TaskState.TASK_RUNNING) return [];
  const has = (wanted: (network: Network) => boolean) =>
    task.attachments.find((a) => {
      const network = networks.get(a.networkId);
      return network !== undefined && wanted(network);
    });
  const attachment = has((n) => driverOf(n) === "bridge") ?? has((n) => n.spec?.ingress === true);
  if (attachment === undefined) return [];
  const [ipv4, ipv6] = [attachment.ipv4, attachment.ipv6].map((address) => address.split("/")[0]!) as [string, string];
  return task.ports.map((port) => publishedPort(port, [{ ipv4, ipv6 }]));
};

const driverOf = (network: Network | undefined): Driver | undefined => DRIVERS.find((d) => d === network?.spec?.driver);

/** Name of the task's namespace: "" for a task on the host's network. */
export const netnsOf = (task: Task, networks: ReadonlyMap<string, Network>): string =>
  task.attachments.some((a) => driverOf(networks.get(a.networkId)) === "host") ? "" : containerNs(task.id);

const containerOf = (task: Task, networks: ReadonlyMap<string, Network>): LocalContainer => {
  const netns = netnsOf(task, networks);
  const attachments: Attachment[] = [];
  const names = new Set(task.attachments.map((a) => a.interfaceName));
  for (const { networkId, interfaceName, aliases: _, ...rest } of netns === "" ? [] : task.attachments) {
    const driver = driverOf(networks.get(networkId));
    if (driver !== undefined && driver !== "host" && driver !== "none")
      attachments.push({ networkId, ifname: interfaceName || freeName(names), ...rest });
  }
  return { taskId: task.id, netns, attachments };
};

/** eth0, eth1, …: the first that is not taken; it is then. */
const freeName = (taken: Set<string>): string => {
  for (let n = 0; ; n++) {
    const name = `eth${n}`;
    if (!taken.has(name)) {
      taken.add(name);
      return name;
    }
  }
};

const networkOf = (network: Network, services: readonly ServiceEndpoint[], self: Self): HostNetwork => {
  const spec = network.spec!;
  return {
    id: network.id,
    name: spec.annotations?.name ?? "",
    driver: driverOf(network)!,
    vni: network.vni,
    options: spec.options,
    parent: parentFor(spec.options, self) ?? "",
    subnets: network.subnets.map(({ subnet, gateway }) => ({ subnet, gateway })),
    internal: spec.internal,
    services: services.filter((s) => s.vip4 !== "" || s.vip6 !== "").map(serviceOf),
  };
};

/** A backend counts alike whether it runs here or elsewhere. */
const serviceOf = (service: ServiceEndpoint): VirtualService => ({
  id: service.serviceId,
  ipv4: service.vip4,
  ipv6: service.vip6,
  backends: service.backends.map(({ ipv4, ipv6 }) => ({ ipv4, ipv6 })),
});

const remoteOf = ({ networkId, ipv4, ipv6, mac, vtep }: Endpoint): RemoteEndpoint => ({
  networkId,
  ipv4,
  ipv6,
  mac,
  vtep,
});
