// What the networking of one host should be: everything the planner needs, nothing about how.

import type { Options } from "#net/model/driver-options.ts";

export type HostNetworks = {
  readonly node: NodeDataPath;
  /** Networks that a local container is on. */
  readonly networks: readonly HostNetwork[];
  readonly containers: readonly LocalContainer[];
  readonly remotes: readonly RemoteEndpoint[];
  /** Ports that this host accepts. */
  readonly published: readonly PublishedPort[];
};

export type PublishedPort = {
  readonly protocol: "tcp" | "udp" | "sctp";
  readonly port: number;
  /** "": every address of the host. */
  readonly hostIp: string;
  /** In the container. */
  readonly target: number;
  /** Addresses on the mesh's network, or on a bridge of this host. */
  readonly backends: readonly { readonly ipv4: string; readonly ipv6: string }[];
};

export type NodeDataPath = {
  /** Address of this node as the others reach it: source of VXLAN packets. */
  readonly vtep: string;
  /** VXLAN's UDP port, the same on every node. */
  readonly dataPathPort: number;
};

export type Driver = "none" | "host" | "bridge" | "overlay" | "macvlan" | "ipvlan";

export type HostNetwork = {
  readonly id: string;
  readonly name: string;
  readonly driver: Driver;
  /** Overlay only, else 0. */
  readonly vni: number;
  /** As stored: see driver-options.ts. */
  readonly options: Options;
  /** macvlan and ipvlan: the link of this host that the containers share; "" when the network has none here. */
  readonly parent: string;
  readonly subnets: readonly { readonly subnet: string; readonly gateway: string }[];
  readonly internal: boolean;
  /** Services with a virtual address on this network: every container of the network reaches them. */
  readonly services: readonly VirtualService[];
  /** Only on the network over which hosts pass on what they accept for published ports. */
  readonly mesh?: Mesh;
};

/** A host as a member of the mesh: packets for its containers are routed to these addresses. */
export type MeshMember = { readonly ipv4: string; readonly ipv6: string; readonly mac: string; readonly vtep: string };
export type Mesh = { readonly self: MeshMember; readonly others: readonly MeshMember[] };

export type VirtualService = {
  readonly id: string;
  /** Virtual addresses; empty when the service has none of that family. */
  readonly ipv4: string;
  readonly ipv6: string;
  readonly backends: readonly { readonly ipv4: string; readonly ipv6: string }[];
};

export type LocalContainer = {
  readonly taskId: string;
  /** Name of its namespace; "" means the host's. */
  readonly netns: string;
  readonly attachments: readonly Attachment[];
};

export type Attachment = {
  readonly networkId: string;
  readonly ifname: string;
  /** "address/length"; empty when the attachment has none of that family. */
  readonly ipv4: string;
  readonly ipv6: string;
  readonly mac: string;
  /** The default route is over the attachment with the highest; among equals over the first. */
  readonly gatewayPriority: number;
  /** By name, as in "net.ipv4.conf.IFNAME.log_martians", where IFNAME stands for the interface. */
  readonly sysctls: Readonly<Record<string, string>>;
};

/** A container of another node. */
export type RemoteEndpoint = {
  readonly networkId: string;
  /** Without length; empty when it has none of that family. */
  readonly ipv4: string;
  readonly ipv6: string;
  readonly mac: string;
  readonly vtep: string;
};

export const emptyHostNetworks = (node: NodeDataPath): HostNetworks => ({
  node,
  networks: [],
  containers: [],
  remotes: [],
  published: [],
});
