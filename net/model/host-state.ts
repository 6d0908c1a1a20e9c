// What a host's kernel has, as far as it concerns us. "" names the host's own namespace; the others are ours.
// Maps are keyed so that planning is one lookup per object.

export type HostState = {
  readonly namespaces: Map<string, NamespaceState>;
  /** The kernel sends what crosses a bridge through netfilter too, unless a namespace switches that off (br_netfilter). */
  readonly bridgeNetfilter: boolean;
  /** MTU of the way to another host, by its address, of those that were asked for; 0: there is no way. */
  readonly pathMtuBytes: Map<string, number>;
};

export type NamespaceState = {
  /** All links, by name: also foreign ones, whose names and MTUs matter. */
  readonly links: Map<string, LinkState>;
  /** On all links but link-local IPv6, by `addressKey`. */
  readonly addresses: Map<string, AddressState>;
  /** Routes with our protocol number, by `routeKey`. */
  readonly routes: Map<string, RouteState>;
  /** Rules with our protocol number, by `ruleKey`. */
  readonly rules: Map<string, RuleState>;
  /** Permanent neighbours of VXLAN links, by `neighbourKey`. */
  readonly neighbours: Map<string, NeighbourState>;
  /** Forwarding entries of VXLAN links that name a remote, by `fdbKey`. */
  readonly fdb: Map<string, FdbState>;
  /** Values by name, with slashes ("net/ipv4/ip_forward"), of those that a plan has asked for. */
  readonly sysctls: Map<string, string>;
  /** Digest of the ruleset in our table, without backends; "" without a table, "damaged" when it is not one that was written. */
  nftDigest: string;
  /** The backends in our table. Not changed in place: namespaces share it. */
  nftChoices: Choices;
  /** Digest of what the kernel lists as our table's content, without backends, until it was compared; "" when that is not known. */
  nftListing: string;
};

/** Backends by the number that draws them. */
export type Slots = readonly string[];
/** By name of their chain and map. */
export type Choices = ReadonlyMap<string, Slots>;

export type VxlanState = { readonly vni: number; readonly port: number; readonly local: string };

export type LinkState = {
  readonly name: string;
  /** "bridge", "veth", "vxlan", "macvlan", "ipvlan", "vlan", "loopback"; other kinds are never ours. */
  readonly kind: string;
  readonly mac: string;
  readonly mtuBytes: number;
  readonly up: boolean;
  /** Name of the bridge it is a port of, or "". */
  readonly master: string;
  /** A port that reaches only the bridge itself, not the other isolated ports. */
  readonly isolated: boolean;
  /** A port that may send back what came in through it. */
  readonly hairpin: boolean;
  /** A port that gets no broadcasts. */
  readonly noBroadcast: boolean;
  readonly alias: string;
  /** In LINK_GROUP. */
  readonly inGroup: boolean;
  readonly vxlan?: VxlanState;
  /** macvlan, ipvlan and vlan only. */
  readonly upper?: UpperState;
};

/** What a link on top of another one has. */
export type UpperState = {
  /** The link below, in the host's namespace wherever this one is; "" when it can't be told. */
  readonly lower: string;
  /** Mode of a macvlan ("bridge") or ipvlan ("l2", "l2 private"), id of a VLAN ("50"). */
  readonly mode: string;
};

/** `address` is "address/length". */
export type AddressState = { readonly link: string; readonly address: string };
/** `via` is "" for what is on the link. */
export type RouteState = {
  readonly table: number;
  readonly destination: string;
  readonly via: string;
  readonly link: string;
  /** Absent: the one that the kernel gives when none is asked for, as in all of ours. */
  readonly metric?: number;
};
/** `from` "" and `mark` 0: any. */
export type RuleState = {
  readonly family: 4 | 6;
  readonly priority: number;
  readonly from: string;
  readonly mark: number;
  readonly table: number;
  /** What ours don't select by. */
  readonly to?: string;
  readonly inputName?: string;
  readonly outputName?: string;
};
export type NeighbourState = { readonly link: string; readonly ip: string; readonly mac: string };
export type FdbState = { readonly link: string; readonly mac: string; readonly vtep: string };

export const addressKey = (a: AddressState): string => `${a.link} ${a.address}`;
export const neighbourKey = (n: NeighbourState): string => `${n.link} ${n.ip}`;
/** A frame for such a MAC goes to all of its VTEPs; one for any other to the only one. All zeros: for whatever is not known. */
export const isGroupMac = (mac: string): boolean =>
  mac === ZERO_MAC || (Number.parseInt(mac.slice(0, 2), 16) & 1) === 1;
export const ZERO_MAC = "00:00:00:00:00:00";
export const BROADCAST_MAC = "ff:ff:ff:ff:ff:ff";

export const fdbKey = (f: FdbState): string =>
  isGroupMac(f.mac) ? `${f.link} ${f.mac} ${f.vtep}` : `${f.link} ${f.mac}`;

export const routeKey = (r: Pick<RouteState, "table" | "destination" | "metric">): string =>
  `${r.table} ${r.destination}${r.metric === undefined ? "" : ` metric ${r.metric}`}`;
export const ruleKey = (r: RuleState): string =>
  [r.family, r.priority, r.from, r.mark, r.table, r.to, r.inputName, r.outputName].join(" ").trimEnd();

/** The link that a setting belongs to ("net/ipv4/conf/eth0/log_martians"); undefined: to the namespace. */
export const linkOfSysctl = (key: string): string | undefined => {
  const link = key.split("/")[3];
  return link === "all" || link === "default" ? undefined : link;
};

export const DEFAULT_ROUTE = { 4: "0.0.0.0/0", 6: "::/0" } as const;

/** The kernel's main routing table (linux/rtnetlink.h, RT_TABLE_MAIN). */
export const MAIN_TABLE = 254;

/** Ways back of what came in by a published port: our rules have this priority, and lead to tables numbered from here. */
export const WAY_BACK = { priority: 20_000, firstTable: 1_000 } as const;

/** Protocol number of our routes and rules (rtnetlink(7), rtm_protocol; 144 is not in iproute2's rt_protos). */
export const ROUTE_PROTOCOL = 144;

const LOOPBACK: LinkState = {
  name: "lo",
  kind: "loopback",
  mac: "00:00:00:00:00:00",
  mtuBytes: 65536,
  up: false,
  master: "",
  isolated: false,
  hairpin: false,
  noBroadcast: false,
  alias: "",
  inGroup: false,
};

/** A namespace as the kernel makes it. */
export const freshNamespace = (): NamespaceState => ({
  links: new Map([["lo", LOOPBACK]]),
  addresses: new Map(),
  routes: new Map(),
  rules: new Map(),
  neighbours: new Map(),
  fdb: new Map(),
  sysctls: new Map(),
  nftDigest: "",
  nftChoices: new Map(),
  nftListing: "",
});
