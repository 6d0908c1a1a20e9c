// What the networking of one host should be: everything the planner needs, nothing about how.

export type HostNetworks = {
  readonly node: NodeDataPath;
  /** Networks that a local container is on. */
  readonly networks: readonly HostNetwork[];
  readonly containers: readonly LocalContainer[];
  readonly remotes: readonly RemoteEndpoint[];
};

export type NodeDataPath = {
  /** Address of this node as the others reach it: source of VXLAN packets. */
  readonly vtep: string;
  /** VXLAN's UDP port, the same on every node. */
  readonly dataPathPort: number;
};

export type Driver = "none" | "host" | "bridge" | "overlay";

export type HostNetwork = {
  readonly id: string;
  readonly name: string;
  readonly driver: Driver;
  /** Overlay only, else 0. */
  readonly vni: number;
  /** Asked for by the user; 0: what the underlay allows. */
  readonly mtuBytes: number;
  /** At most one of each family. */
  readonly subnets: readonly { readonly subnet: string; readonly gateway: string }[];
  readonly internal: boolean;
  /** Bridge only: containers reach each other. */
  readonly icc: boolean;
  /** Services with a virtual address on this network: every container of the network reaches them. */
  readonly services: readonly VirtualService[];
};

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
});
