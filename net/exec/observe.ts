// Dumps of the host's namespace and ours → host state.

import { existsSync, readFileSync } from "node:fs";
import type { Link } from "#net/codec/link.ts";
import type { Kernel, SeenTable } from "#net/exec/kernel.ts";
import { type Listing, listOurTable } from "#net/exec/listing.ts";
import { namespaceInode } from "#net/exec/tables.ts";
import { errnoOf } from "#net/kernel/errno.ts";
import { withNetns } from "#net/kernel/netns.ts";
import type { Rtnl } from "#net/kernel/rtnl.ts";
import { isLinkLocal6, splitPrefix } from "#net/model/cidr.ts";
import type { HostNetworks } from "#net/model/host-networks.ts";
import {
  addressKey,
  DEFAULT_ROUTE,
  fdbKey,
  type HostState,
  type LinkState,
  type NamespaceState,
  neighbourKey,
  ROUTE_PROTOCOL,
  type RuleState,
  routeKey,
  ruleKey,
} from "#net/model/host-state.ts";
import { LINK_GROUP } from "#net/model/ifname.ts";
import { digestOfDump } from "#net/plan/nat/ruleset.ts";
import { peersOf } from "#net/plan/overlay/mtu.ts";
import type { Target } from "#net/plan/target.ts";

/** Everything that a plan can depend on. Closes the sockets it opened. */
export const observe = (kernel: Kernel): HostState => {
  const namespaces = new Map<string, NamespaceState>();
  observeInto(namespaces, kernel, ["", ...kernel.namespaces()]);
  for (const ns of kernel.tables.keys()) if (!namespaces.has(ns)) kernel.tables.delete(ns);
  const bridgeNetfilter = existsSync("/proc/sys/net/bridge/bridge-nf-call-iptables");
  return { namespaces, bridgeNetfilter, pathMtuBytes: new Map() };
};

/** `state` with these namespaces as they are now; those that are gone are gone from it. */
export const observeAgain = (kernel: Kernel, state: HostState, which: ReadonlySet<string>): HostState => {
  const namespaces = new Map(state.namespaces);
  for (const ns of which) namespaces.delete(ns);
  observeInto(
    namespaces,
    kernel,
    ["", ...kernel.namespaces()].filter((ns) => which.has(ns)),
  );
  return { ...state, namespaces, pathMtuBytes: which.has("") ? new Map() : state.pathMtuBytes };
};

const observeInto = (namespaces: Map<string, NamespaceState>, kernel: Kernel, which: readonly string[]): void => {
  let hostNames: Names | undefined;
  const namesOnHost = (): Names => {
    hostNames ??= new Map(
      kernel
        .rtnl("")
        .linkDump()
        .map((link) => [link.index, link.name]),
    );
    return hostNames;
  };
  for (const ns of which) {
    namespaces.set(ns, observeNamespace(kernel, ns, namesOnHost));
    kernel.release(ns);
  }
  kernel.release("");
};

const observeNamespace = (kernel: Kernel, ns: string, namesOnHost: () => Names): NamespaceState => {
  const rtnl = kernel.rtnl(ns);
  const { links, names } = observeLinks(rtnl, ns === "" ? undefined : namesOnHost);
  const hasVxlan = [...links.values()].some((link) => link.kind === "vxlan");
  return {
    links,
    addresses: observeAddresses(rtnl, names),
    routes: observeRoutes(rtnl, names),
    rules: observeRules(rtnl),
    neighbours: hasVxlan ? observeNeighbours(rtnl, links, names) : new Map(),
    fdb: hasVxlan ? observeFdb(rtnl, names) : new Map(),
    sysctls: new Map(),
    ...observeTable(kernel, ns),
  };
};

type Names = ReadonlyMap<number, string>;

/** `namesOnHost`: of the host's namespace, where the lower links of another namespace's are; absent: this is it. */
const observeLinks = (
  rtnl: Rtnl,
  namesOnHost: (() => Names) | undefined,
): { links: Map<string, LinkState>; names: Names } => {
  const dump = rtnl.linkDump();
  const names = new Map(dump.map((link) => [link.index, link.name]));
  const lowerName = (link: Link): string =>
    link.linkIndex === undefined ? "" : ((namesOnHost === undefined ? names : namesOnHost()).get(link.linkIndex) ?? "");
  return { links: new Map(dump.map((link) => [link.name, linkStateOf(link, names, lowerName)])), names };
};

/** `lowerName` is asked for links on top of another one only. */
export const linkStateOf = (link: Link, names: Names, lowerName: (link: Link) => string): LinkState => {
  const { vxlan } = link;
  const mode = link.macvlanMode ?? ipvlanMode(link) ?? link.vlanId?.toString();
  return {
    name: link.name,
    kind: link.name === "lo" ? "loopback" : link.kind,
    mac: link.address ?? "",
    mtuBytes: link.mtu,
    up: link.up,
    master: (link.masterIndex !== undefined && names.get(link.masterIndex)) || "",
    isolated: link.port?.isolated ?? false,
    hairpin: link.port?.hairpin ?? false,
    noBroadcast: link.port?.bcastFlood === false,
    alias: link.alias ?? "",
    inGroup: link.group === LINK_GROUP,
    ...(vxlan && { vxlan: { vni: vxlan.id, port: vxlan.port, local: vxlan.local ?? "" } }),
    ...(mode !== undefined && { upper: { lower: lowerName(link), mode } }),
  };
};

const ipvlanMode = ({ ipvlanMode: mode, ipvlanFlag: flag }: Link): string | undefined =>
  mode === undefined || flag === "bridge" ? mode : `${mode} ${flag}`;

const observeAddresses = (rtnl: Rtnl, names: Names): NamespaceState["addresses"] => {
  const found: NamespaceState["addresses"] = new Map();
  for (const { linkIndex, cidr } of rtnl.addrDump()) {
    const address = { link: names.get(linkIndex) ?? "", address: cidr };
    if (!isLinkLocal6(splitPrefix(cidr).address)) found.set(addressKey(address), address);
  }
  return found;
};

/** Of an IPv6 route for which none was asked (linux/ipv6_route.h, IP6_RT_PRIO_USER). */
const IPV6_METRIC = 1024;

const observeRoutes = (rtnl: Rtnl, names: Names): NamespaceState["routes"] => {
  const found: NamespaceState["routes"] = new Map();
  for (const route of rtnl.routeDump()) {
    if (route.protocol !== ROUTE_PROTOCOL) continue;
    const family = route.family === "inet" ? 4 : 6;
    const destination = route.destination === "default" ? DEFAULT_ROUTE[family] : route.destination;
    const link = (route.linkIndex !== undefined && names.get(route.linkIndex)) || "";
    const unasked = family === 4 ? 0 : IPV6_METRIC;
    const metric = route.metric === unasked ? {} : { metric: route.metric };
    const seen = { table: route.table, destination, via: route.gateway ?? "", link, ...metric };
    found.set(routeKey(seen), seen);
  }
  return found;
};

const observeRules = (rtnl: Rtnl): NamespaceState["rules"] => {
  const found: NamespaceState["rules"] = new Map();
  for (const { family, from = "", mark = 0, mask: _mask, protocol, ...rest } of rtnl.ruleDump()) {
    if (protocol !== ROUTE_PROTOCOL) continue;
    const rule: RuleState = { family: family === "inet" ? 4 : 6, from, mark, ...rest };
    found.set(ruleKey(rule), rule);
  }
  return found;
};

const observeNeighbours = (rtnl: Rtnl, links: NamespaceState["links"], names: Names): NamespaceState["neighbours"] => {
  const found: NamespaceState["neighbours"] = new Map();
  for (const { linkIndex, address, mac, state } of rtnl.neighDump()) {
    const link = names.get(linkIndex) ?? "";
    if (state !== "permanent" || links.get(link)?.kind !== "vxlan") continue;
    const neighbour = { link, ip: address, mac: mac ?? "" };
    found.set(neighbourKey(neighbour), neighbour);
  }
  return found;
};

const observeFdb = (rtnl: Rtnl, names: Names): NamespaceState["fdb"] => {
  const found: NamespaceState["fdb"] = new Map();
  for (const { linkIndex, mac, destination, self } of rtnl.fdbDump()) {
    if (!self || destination === undefined) continue;
    const entry = { link: names.get(linkIndex) ?? "", mac, vtep: destination };
    found.set(fdbKey(entry), entry);
  }
  return found;
};

/** Asks for the ways to the peers that are not known yet. */
export const learnPaths = (kernel: Kernel, desired: HostNetworks, { pathMtuBytes }: HostState): void => {
  const unknown = peersOf(desired).filter((peer) => !pathMtuBytes.has(peer));
  if (unknown.length === 0) return;
  const rtnl = kernel.rtnl("");
  const links = new Map(rtnl.linkDump().map(({ index, mtu }) => [index, mtu]));
  for (const peer of unknown) pathMtuBytes.set(peer, pathMtu(rtnl, peer, links));
};

/** The route's own MTU (also what the kernel learned on that way), else the link's; 0: there is no way. */
const pathMtu = (rtnl: Rtnl, peer: string, links: ReadonlyMap<number, number>): number => {
  try {
    const { mtuBytes = 0, linkIndex = 0 } = rtnl.routeGet(peer);
    return mtuBytes || (links.get(linkIndex) ?? 0);
  } catch (error) {
    if (UNREACHABLE.has(errnoOf(error) ?? "")) return 0;
    throw error;
  }
};
/** Answers for no route, and for routes of the types unreachable, prohibit and blackhole. */
const UNREACHABLE: ReadonlySet<string> = new Set(["ENETUNREACH", "EHOSTUNREACH", "EACCES", "EINVAL"]);

/** Reads the settings that the target names and that are not known yet. What does not exist (yet) stays unknown. */
export const learnSysctls = (kernel: Kernel, target: Target, { namespaces }: HostState): void => {
  for (const [ns, { sysctls }] of target) {
    const known = namespaces.get(ns)?.sysctls;
    const unknown = known === undefined ? [] : [...sysctls.keys()].filter((key) => !known.has(key));
    if (unknown.length > 0) readSysctls(kernel.path(ns), unknown).forEach((value, key) => void known!.set(key, value));
  }
};

const readSysctls = (path: string | null, keys: readonly string[]): Map<string, string> =>
  withNetns(path, () => {
    const found = new Map<string, string>();
    for (const key of keys) {
      const file = `/proc/sys/${key}`;
      if (existsSync(file)) found.set(key, readFileSync(file, "utf8").trim());
    }
    return found;
  });

const observeTable = (kernel: Kernel, ns: string): SeenTable => {
  const path = kernel.path(ns);
  const inode = namespaceInode(path);
  const generation = kernel.nftSocket(ns).generation();
  const known = kernel.tables.get(ns);
  if (known?.generation === generation && known.inode === inode) return known.seen;
  const listing = listOurTable(path);
  const seen = listing === undefined ? NO_TABLE : seenTable(listing);
  kernel.tables.set(ns, { inode, generation, seen });
  return seen;
};

const NO_TABLE: SeenTable = { nftDigest: "", nftChoices: new Map(), nftListing: "" };

const seenTable = ({ baseChains, comments, choices, digest }: Listing): SeenTable => ({
  nftDigest: choices === undefined ? "damaged" : digestOfDump(baseChains, comments),
  nftChoices: choices ?? new Map(),
  nftListing: digest,
});
