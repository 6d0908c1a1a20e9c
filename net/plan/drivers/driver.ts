import type {
  Attachment,
  HostNetwork,
  LocalContainer,
  NodeDataPath,
  RemoteEndpoint,
} from "#net/model/host-networks.ts";
import type { Door } from "#net/plan/nat/masquerade.ts";
import type { Target } from "#net/plan/target.ts";

export type LocalAttachment = { readonly container: LocalContainer; readonly attachment: Attachment };

/** One network with everything of it on this host. */
export type NetworkOnHost = {
  readonly network: HostNetwork;
  readonly node: NodeDataPath;
  /** Of the ways to these hosts. */
  readonly underlayMtuBytes: (peers: readonly { readonly vtep: string }[]) => number;
  readonly bridgeNetfilter: boolean;
  /** Of a link of the host's namespace; undefined when it has none of that name. */
  readonly mtuOfLink: (name: string) => number | undefined;
  /** The bridge that a link of one of our namespaces is a port of now; "" for none. */
  readonly masterOf: (ns: string, link: string) => string;
  readonly portsPerBridge: number;
  /** A container of this host behind a published port, by its address. */
  readonly isPublished: (address: string) => boolean;
  readonly attachments: readonly LocalAttachment[];
  readonly remotes: readonly RemoteEndpoint[];
};

/** Writes what the network needs into the target; returns the door it opens in the host's namespace, if any. */
export type PlanNetwork = (on: NetworkOnHost, target: Target) => Door | undefined;
