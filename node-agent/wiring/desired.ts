// From the node's view to what this host's networking should be. Pure.

import type {
  Attachment,
  Driver,
  HostNetwork,
  HostNetworks,
  LocalContainer,
  NodeDataPath,
  RemoteEndpoint,
  VirtualService,
} from "#net/model/host-networks.ts";
import { containerNs } from "#net/model/ifname.ts";
import type { Endpoint, ServiceEndpoint } from "#proto/gen/dispatcher.ts";
import type { Network, Task } from "#proto/gen/types.ts";

/** The networking part of the node's view. */
export type NetworkView = {
  readonly tasks: ReadonlyMap<string, Task>;
  /** By network id. */
  readonly networks: ReadonlyMap<string, Network>;
  readonly endpoints: ReadonlyMap<string, Endpoint>;
  readonly services: ReadonlyMap<string, ServiceEndpoint>;
};

const MTU_OPTION = "com.docker.network.driver.mtu";
const ICC_OPTION = "com.docker.network.bridge.enable_icc";
const DRIVERS: readonly Driver[] = ["none", "host", "bridge", "overlay"];

/**
 * `wired`: ids of the tasks that need their namespace now (PREPARING or later, not ended). Only networks that one of them
 * is on are wired; an attachment to a network that the view does not have (yet) is left out.
 */
export const desiredNetworks = (view: NetworkView, node: NodeDataPath, wired: ReadonlySet<string>): HostNetworks => {
  const tasks = [...view.tasks.values()].filter((task) => wired.has(task.id));
  const containers = tasks.map((task) => containerOf(task, view.networks));
  const used = new Set(containers.flatMap((c) => c.attachments.map((a) => a.networkId)));
  const services = Map.groupBy(view.services.values(), (s: ServiceEndpoint) => s.networkId);
  return {
    node,
    networks: [...used].map((id) => networkOf(view.networks.get(id)!, services.get(id) ?? [])),
    containers,
    remotes: [...view.endpoints.values()].filter((e) => used.has(e.networkId) && e.vtep !== "").map(remoteOf),
  };
};

const driverOf = (network: Network | undefined): Driver | undefined => DRIVERS.find((d) => d === network?.spec?.driver);

/** Name of the task's namespace: "" for a task on the host's network. */
export const netnsOf = (task: Task, networks: ReadonlyMap<string, Network>): string =>
  task.attachments.some((a) => driverOf(networks.get(a.networkId)) === "host") ? "" : containerNs(task.id);

const containerOf = (task: Task, networks: ReadonlyMap<string, Network>): LocalContainer => {
  const netns = netnsOf(task, networks);
  const attachments: Attachment[] = [];
  for (const { networkId, ipv4, ipv6, mac } of netns === "" ? [] : task.attachments) {
    const driver = driverOf(networks.get(networkId));
    if (driver === "bridge" || driver === "overlay")
      attachments.push({ networkId, ifname: `eth${attachments.length}`, ipv4, ipv6, mac });
  }
  return { taskId: task.id, netns, attachments };
};

const networkOf = (network: Network, services: readonly ServiceEndpoint[]): HostNetwork => {
  const spec = network.spec!;
  const mtu = Number(spec.options[MTU_OPTION] ?? 0);
  return {
    id: network.id,
    name: spec.annotations?.name ?? "",
    driver: driverOf(network)!,
    vni: network.vni,
    mtuBytes: Number.isInteger(mtu) && mtu > 0 ? mtu : 0,
    subnets: network.subnets.map(({ subnet, gateway }) => ({ subnet, gateway })),
    internal: spec.internal,
    icc: spec.options[ICC_OPTION] !== "false",
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
