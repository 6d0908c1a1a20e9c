// Hosts for tests.

import type {
  Attachment,
  HostNetwork,
  HostNetworks,
  LocalContainer,
  RemoteEndpoint,
  VirtualService,
} from "#net/model/host-networks.ts";
import { freshNamespace, type HostState } from "#net/model/host-state.ts";

export const NODE = { vtep: "192.0.2.1", dataPathPort: 4789 };
export const OTHER_VTEP = "192.0.2.2";

/** A host with one link that carries the VTEP address, and nothing of ours. */
export const emptyHost = (): HostState => {
  const host = freshNamespace();
  const link = {
    name: "uplink",
    kind: "",
    mac: "52:54:00:00:00:01",
    mtuBytes: 1500,
    up: true,
    master: "",
    isolated: false,
    hairpin: false,
    noBroadcast: false,
    alias: "",
    inGroup: false,
  };
  host.links.set("uplink", link);
  host.addresses.set("uplink 192.0.2.1/24", { link: "uplink", address: "192.0.2.1/24" });
  return { namespaces: new Map([["", host]]), bridgeNetfilter: true, pathMtuBytes: new Map() };
};

export const overlayNetwork = (n: number, change: Partial<HostNetwork> = {}): HostNetwork => ({
  id: `overlay${n}`,
  name: `app${n}`,
  driver: "overlay",
  vni: 4096 + n,
  options: {},
  parent: "",
  subnets: [
    { subnet: `10.${n}.0.0/24`, gateway: `10.${n}.0.1` },
    { subnet: `fd00:${n}::/64`, gateway: `fd00:${n}::1` },
  ],
  internal: false,
  services: [],
  ...change,
});

export const bridgeNetwork = (n: number, change: Partial<HostNetwork> = {}): HostNetwork => ({
  ...overlayNetwork(n),
  id: `bridge${n}`,
  name: `own${n}`,
  driver: "bridge",
  vni: 0,
  subnets: [{ subnet: `172.20.${n}.0/24`, gateway: `172.20.${n}.1` }],
  ...change,
});

/** Address `host` of each subnet of the network. */
export const attach = (network: HostNetwork, host: number, ifname = "eth0"): Attachment => {
  const [v4, v6] = [
    network.subnets.find((s) => s.subnet.includes(".")),
    network.subnets.find((s) => s.subnet.includes(":")),
  ];
  return {
    networkId: network.id,
    ifname,
    ipv4: v4 ? `${v4.gateway.replace(/1$/, String(host))}/24` : "",
    ipv6: v6 ? `${v6.gateway.replace(/1$/, host.toString(16))}/64` : "",
    mac: macOf(host),
    gatewayPriority: 0,
    sysctls: {},
  };
};

/** Address `host` of each subnet, as a container of another node. */
export const remote = (network: HostNetwork, host: number, vtep = OTHER_VTEP): RemoteEndpoint => ({
  networkId: network.id,
  ...addressesOf(network, host),
  mac: macOf(host),
  vtep,
});

/** Address `host` of each subnet, with the containers at `backends` behind it. */
export const virtualService = (
  network: HostNetwork,
  id: string,
  host: number,
  backends: readonly number[] = [],
): VirtualService => ({
  id,
  ...addressesOf(network, host),
  backends: backends.map((backend) => addressesOf(network, backend)),
});

const addressesOf = (network: HostNetwork, host: number) => {
  const { ipv4, ipv6 } = attach(network, host);
  return { ipv4: ipv4.split("/")[0]!, ipv6: ipv6.split("/")[0]! };
};

export const macOf = (host: number): string => `02:42:00:00:00:${host.toString(16).padStart(2, "0")}`;

export const container = (taskId: string, ...attachments: readonly Attachment[]): LocalContainer => ({
  taskId,
  netns: `c-${taskId}`,
  attachments,
});

export const host = (change: Partial<HostNetworks>): HostNetworks => ({
  node: NODE,
  networks: [],
  containers: [],
  remotes: [],
  published: [],
  ...change,
});
