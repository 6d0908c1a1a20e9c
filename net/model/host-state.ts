// What a host's kernel has, as far as it concerns us. "" names the host's own namespace; the others are ours.
// Maps are keyed so that planning is one lookup per object.

export type HostState = { readonly namespaces: Map<string, NamespaceState> };

export type NamespaceState = {
  /** All links, by name: also foreign ones, whose names and MTUs matter. */
  readonly links: Map<string, LinkState>;
  /** On all links but link-local IPv6, by `addressKey`. */
  readonly addresses: Map<string, AddressState>;
  /** Routes with our protocol number, by destination. */
  readonly routes: Map<string, RouteState>;
  /** Permanent neighbours of VXLAN links, by `neighbourKey`. */
  readonly neighbours: Map<string, NeighbourState>;
  /** Forwarding entries of VXLAN links that name a remote, by `fdbKey`. */
  readonly fdb: Map<string, FdbState>;
  /** The values of SYSCTLS that were read. */
  readonly sysctls: Map<string, string>;
  /** Digest of the ruleset in our table; "" without a table, "damaged" when it is not the one that was written. */
  nftDigest: string;
};

export type VxlanState = { readonly vni: number; readonly port: number; readonly local: string };

export type LinkState = {
  readonly name: string;
  /** "bridge", "veth", "vxlan", "loopback"; other kinds are never ours. */
  readonly kind: string;
  readonly mac: string;
  readonly mtuBytes: number;
  readonly up: boolean;
  /** Name of the bridge it is a port of, or "". */
  readonly master: string;
  /** A port that reaches only the bridge itself, not the other isolated ports. */
  readonly isolated: boolean;
  readonly alias: string;
  readonly vxlan?: VxlanState;
};

/** `address` is "address/length". */
export type AddressState = { readonly link: string; readonly address: string };
export type RouteState = { readonly destination: string; readonly via: string; readonly link: string };
export type NeighbourState = { readonly link: string; readonly ip: string; readonly mac: string };
export type FdbState = { readonly link: string; readonly mac: string; readonly vtep: string };

export const addressKey = (a: AddressState): string => `${a.link} ${a.address}`;
export const neighbourKey = (n: NeighbourState): string => `${n.link} ${n.ip}`;
export const fdbKey = (f: FdbState): string => `${f.link} ${f.mac}`;

export const DEFAULT_ROUTE = { 4: "0.0.0.0/0", 6: "::/0" } as const;

/** Protocol number of our routes (rtnetlink(7), rtm_protocol; 144 is not in iproute2's rt_protos). */
export const ROUTE_PROTOCOL = 144;

/** Every kernel setting that a plan may contain; observation reads exactly these. */
export const SYSCTLS = [
  "net.ipv4.ip_forward",
  "net.ipv6.conf.all.forwarding",
  "net.ipv6.conf.all.disable_ipv6",
  "net.ipv6.conf.all.accept_dad",
  "net.ipv6.conf.default.accept_dad",
] as const;
export type SysctlKey = (typeof SYSCTLS)[number];

const LOOPBACK: LinkState = {
  name: "lo",
  kind: "loopback",
  mac: "00:00:00:00:00:00",
  mtuBytes: 65536,
  up: false,
  master: "",
  isolated: false,
  alias: "",
};

/** A namespace as the kernel makes it. */
export const freshNamespace = (): NamespaceState => ({
  links: new Map([["lo", LOOPBACK]]),
  addresses: new Map(),
  routes: new Map(),
  neighbours: new Map(),
  fdb: new Map(),
  sysctls: new Map(),
  nftDigest: "",
});
