// Target against dump, per namespace. What is the target's and missing is added, what is ours and not in the target goes,
// what is nobody's or someone else's is not looked at.
//
// Ours are: in the host's namespace, links with our alias or the shape of our names; in an overlay's namespace, all bridges,
// veths and VXLANs; in a container's, links with our alias (the container may make its own). Addresses and entries on our
// links are ours, except in containers, where a program with the right may add addresses. Routes by protocol number.

import { isLinkLocal6, splitPrefix } from "#net/model/cidr.ts";
import {
  freshNamespace,
  type HostState,
  type LinkState,
  linkOfSysctl,
  type NamespaceState,
  type NeighbourState,
  type RouteState,
} from "#net/model/host-state.ts";
import { isContainerNs, isOurHostName, isOverlayNs, MARK, outerEndName, peerNsOfMark } from "#net/model/ifname.ts";
import { choiceChanges } from "#net/plan/nat/choices.ts";
import type { LinkChange, NetOp } from "#net/plan/op.ts";
import type { Target, TargetLink, TargetNamespace } from "#net/plan/target.ts";

/** Ops, not yet in order. */
export const diff = (target: Target, observed: HostState): NetOp[] => {
  const ops: NetOp[] = [];
  const leaving = new Set([...observed.namespaces.keys()].filter((ns) => ns !== "" && !target.has(ns)));
  for (const ns of leaving) removeNamespace(ns, target, observed, ops);
  for (const [ns, want] of target) {
    const have = observed.namespaces.get(ns);
    if (have === undefined) ops.push({ op: "netns-add", ns });
    diffNamespace({ ns, want, have: have ?? freshNamespace(), target, observed, leaving, ops });
  }
  return ops;
};

/**
 * Deleting a namespace deletes its links, but later (the kernel's cleanup runs in a work queue). An overlay that comes back
 * at once would find its VNI and the name of its way out taken, so those two are deleted explicitly; and so are the
 * interfaces of containers that stay, which were taken from the network.
 */
const removeNamespace = (ns: string, target: Target, observed: HostState, ops: NetOp[]): void => {
  if (isOverlayNs(ns)) {
    for (const link of observed.namespaces.get(ns)!.links.values()) {
      const inner = peerNsOfMark(link.alias) ?? "";
      if (link.kind === "vxlan" || (isContainerNs(inner) && target.has(inner)))
        ops.push({ op: "link-del", ns, name: link.name });
    }
    for (const link of observed.namespaces.get("")?.links.values() ?? [])
      if (peerNsOfMark(link.alias) === ns) ops.push({ op: "link-del", ns: "", name: link.name });
  }
  ops.push({ op: "netns-del", ns });
};

type Pass = {
  readonly ns: string;
  readonly want: TargetNamespace;
  readonly have: NamespaceState;
  readonly target: Target;
  readonly observed: HostState;
  readonly leaving: ReadonlySet<string>;
  readonly ops: NetOp[];
};

const diffNamespace = (pass: Pass): void => {
  const { ns, want, have, ops } = pass;
  const gone = diffLinks(pass);
  // What was on a link goes with it, so it is neither deleted nor taken as present.
  const stays = (link: string): boolean => !gone.has(link);
  for (const [key, value] of want.sysctls)
    if (have.sysctls.get(key) !== value || !stays(linkOfSysctl(key) ?? ""))
      ops.push({ op: "sysctl-set", ns, key, value });
  const emptied = diffAddresses(pass, stays);
  // With a link's last address the kernel takes its routes and neighbours, also those that were made without one.
  const keeps = (link: string): boolean => stays(link) && !emptied.has(link);
  diffRoutes(pass, stays, keeps);
  diffRules(pass);
  diffEntries(pass, stays, keeps);
  if (want.ruleset === undefined) {
    if (have.nftDigest !== "") ops.push({ op: "nft-del", ns });
  } else if (have.nftDigest !== want.ruleset.digest) {
    const { digest, text, backends } = want.ruleset;
    ops.push({ op: "nft-set", ns, digest, ruleset: text, backends, replaces: have.nftDigest !== "" });
  } else {
    const { changes, after } = choiceChanges(have.nftChoices, want.ruleset);
    if (changes.length > 0) ops.push({ op: "nft-choices", ns, changes, after });
  }
};

/** Names of the links that this plan deletes (also those it makes again, and inner ends that go with their outer ones). */
const diffLinks = (pass: Pass): ReadonlySet<string> => {
  const { ns, want, have, leaving, ops } = pass;
  const gone = new Set<string>();
  for (const link of have.links.values()) {
    if (want.links.has(link.name) || !isOurs(ns, link)) continue;
    gone.add(link.name);
    const peerNs = peerNsOfMark(link.alias);
    // An end goes with the other one: an outer with the inner's namespace, an inner with the outer that nobody wants either.
    const goesByItself = peerNs === undefined ? hasOuterEnd(pass, link) : leaving.has(peerNs);
    if (!goesByItself) ops.push({ op: "link-del", ns, name: link.name });
  }
  for (const link of want.links.values()) {
    const existing = have.links.get(link.name);
    const fate = fateOf(pass, link, existing);
    if (fate === "theirs") continue;
    if (fate === "keep") {
      changeLink(pass, link, existing!, (name) => !gone.has(name));
      continue;
    }
    if (existing !== undefined) {
      gone.add(link.name);
      if (fate === "replace") ops.push({ op: "link-del", ns, name: link.name });
    }
    if (link.kind !== "veth" || link.peer !== undefined) addLink(pass, link);
    ops.push({
      op: "link-set",
      ns,
      name: link.name,
      change: {
        alias: link.alias,
        ...(link.isolated && { isolated: true }),
        ...(link.hairpin && { hairpin: true }),
        ...(link.noBroadcast && { noBroadcast: true }),
        // The inner end of a pair is made without one.
        ...(link.kind === "veth" && link.peer === undefined && link.master !== "" && { master: link.master }),
      },
    });
    ops.push({ op: "link-up", ns, name: link.name });
  }
  const lo = have.links.get("lo");
  if (ns !== "" && lo !== undefined && !lo.up) ops.push({ op: "link-up", ns, name: "lo" });
  return gone;
};

const hasOuterEnd = ({ ns, observed }: Pass, link: LinkState): boolean => {
  if (ns === "" || link.kind !== "veth") return false;
  const outer = outerEndName(ns, link.name);
  for (const [other, { links }] of observed.namespaces) if (!isContainerNs(other) && links.has(outer)) return true;
  return false;
};

const OUR_KINDS: ReadonlySet<string> = new Set<TargetLink["kind"]>([
  "bridge",
  "veth",
  "vxlan",
  "macvlan",
  "ipvlan",
  "vlan",
]);

export const isOurs = (ns: string, link: LinkState): boolean => {
  if (!OUR_KINDS.has(link.kind)) return false;
  return isOverlayNs(ns) || link.inGroup || link.alias.startsWith(MARK) || (ns === "" && isOurHostName(link.name));
};

/** "replace": delete and make again; "remade": its other end does that; "theirs": used as it is; "add" over a foreign link fails and is reported. */
type Fate = "keep" | "theirs" | "add" | "replace" | "remade";

const fateOf = (pass: Pass, want: TargetLink, have: LinkState | undefined): Fate => {
  if (have === undefined) return "add";
  if (!isOurs(pass.ns, have)) return want.shared && fits(want, have) ? "theirs" : "add";
  if (!fits(want, have)) return "replace";
  if (want.kind !== "veth") return "keep";
  // A pair lives and dies as one.
  if (want.peer !== undefined)
    return pass.observed.namespaces.get(want.peer.ns)?.links.has(want.peer.name) ? "keep" : "replace";
  const outer = outerEnds(pass.target).get(`${pass.ns}/${want.name}`)!;
  const existing = pass.observed.namespaces.get(outer.ns)?.links.get(outer.link.name);
  if (existing === undefined && hasOuterEnd(pass, have)) return "remade";
  if (existing === undefined) return "replace";
  return fits(outer.link, existing) ? "keep" : "remade";
};

type OuterEnd = { readonly ns: string; readonly link: TargetLink };
const outerEndsOf = new WeakMap<Target, Map<string, OuterEnd>>();

/** "ns/name" of each inner end → its outer end. Made once per target. */
const outerEnds = (target: Target): ReadonlyMap<string, OuterEnd> => {
  let ends = outerEndsOf.get(target);
  if (ends === undefined) {
    ends = new Map();
    for (const [ns, { links }] of target)
      for (const link of links.values()) if (link.peer) ends.set(`${link.peer.ns}/${link.peer.name}`, { ns, link });
    outerEndsOf.set(target, ends);
  }
  return ends;
};

/** What can't be changed on a living link is as wanted. */
const fits = (want: TargetLink, have: LinkState): boolean =>
  want.kind === have.kind &&
  want.vxlan?.vni === have.vxlan?.vni &&
  want.vxlan?.port === have.vxlan?.port &&
  want.vxlan?.local === have.vxlan?.local &&
  want.upper?.lower === have.upper?.lower &&
  want.upper?.mode === have.upper?.mode;

const addLink = ({ ns, target, ops }: Pass, link: TargetLink): void => {
  const { name, mac, mtuBytes, master } = link;
  if (link.kind === "bridge") ops.push({ op: "link-add", ns, name, link: { kind: "bridge", mac, mtuBytes } });
  else if (link.kind === "vxlan")
    ops.push({ op: "link-add", ns, name, link: { kind: "vxlan", mac, mtuBytes, master, vxlan: link.vxlan! } });
  else if (link.upper !== undefined && link.kind !== "veth")
    ops.push({ op: "link-add", ns, name, link: { kind: link.kind, mac, mtuBytes, upper: link.upper } });
  else {
    const inner = target.get(link.peer!.ns)!.links.get(link.peer!.name)!;
    const peer = { ...link.peer!, mac: inner.mac };
    ops.push({ op: "link-add", ns, name, link: { kind: "veth", mac, mtuBytes, master, peer } });
  }
};

const changeLink = ({ ns, ops }: Pass, want: TargetLink, have: LinkState, stays: (link: string) => boolean): void => {
  // A port that gets to another bridge, or to the same one made again, has none of the settings that it had.
  const moves = want.master !== "" && (want.master !== have.master || !stays(want.master));
  const change: LinkChange = {
    ...(want.mtuBytes !== have.mtuBytes && { mtuBytes: want.mtuBytes }),
    ...(want.mac !== "" && want.mac !== have.mac && { mac: want.mac }),
    ...((moves || want.master !== have.master) && { master: want.master }),
    ...setting("isolated", want.isolated, have.isolated, moves),
    ...setting("noBroadcast", want.noBroadcast, have.noBroadcast, moves),
    ...setting("hairpin", want.hairpin, have.hairpin, moves),
    ...(want.alias !== have.alias && { alias: want.alias }),
  };
  if (Object.keys(change).length > 0) ops.push({ op: "link-set", ns, name: want.name, change });
  if (!have.up) ops.push({ op: "link-up", ns, name: want.name });
};

const setting = <K extends "isolated" | "noBroadcast" | "hairpin">(
  key: K,
  want = false,
  have: boolean,
  moves: boolean,
): LinkChange => (want !== have || (moves && want) ? { [key]: want } : {});

/** Links that lose an address. */
const diffAddresses = ({ ns, want, have, ops }: Pass, stays: (link: string) => boolean): ReadonlySet<string> => {
  const emptied = new Set<string>();
  for (const [key, { link, address }] of want.addresses)
    if (!have.addresses.has(key) || !stays(link)) ops.push({ op: "addr-add", ns, link, address });
  if (isContainerNs(ns)) return emptied;
  for (const [key, { link, address }] of have.addresses) {
    const extra = !want.addresses.has(key) && want.links.has(link) && stays(link);
    if (!extra || isLinkLocal6(splitPrefix(address).address)) continue;
    ops.push({ op: "addr-del", ns, link, address });
    emptied.add(link);
  }
  return emptied;
};

type Stays = (link: string) => boolean;

const diffRoutes = ({ ns, want, have, ops }: Pass, stays: Stays, keeps: Stays): void => {
  const same = (a: RouteState, b: RouteState | undefined): boolean =>
    b !== undefined && a.via === b.via && a.link === b.link;
  for (const [key, route] of want.routes)
    if (!same(route, have.routes.get(key)) || !keeps(route.link)) ops.push({ op: "route-set", ns, ...route });
  for (const [key, route] of have.routes)
    if (!want.routes.has(key) && stays(route.link)) ops.push({ op: "route-del", ns, ...route });
};

const diffRules = ({ ns, want, have, ops }: Pass): void => {
  for (const [key, rule] of want.rules) if (!have.rules.has(key)) ops.push({ op: "rule-add", ns, ...rule });
  for (const [key, rule] of have.rules) if (!want.rules.has(key)) ops.push({ op: "rule-del", ns, ...rule });
};

const diffEntries = ({ ns, want, have, ops }: Pass, stays: Stays, keeps: Stays): void => {
  const sameNeighbour = (a: NeighbourState, b: NeighbourState | undefined): boolean => a.mac === b?.mac;
  for (const [key, n] of want.neighbours)
    if (!sameNeighbour(n, have.neighbours.get(key)) || !keeps(n.link)) ops.push({ op: "neigh-set", ns, ...n });
  for (const [key, n] of have.neighbours)
    if (!want.neighbours.has(key) && want.links.has(n.link) && stays(n.link)) ops.push({ op: "neigh-del", ns, ...n });
  for (const [key, f] of want.fdb)
    if (have.fdb.get(key)?.vtep !== f.vtep || !stays(f.link)) ops.push({ op: "fdb-set", ns, ...f });
  for (const [key, f] of have.fdb)
    if (!want.fdb.has(key) && want.links.has(f.link) && stays(f.link)) ops.push({ op: "fdb-del", ns, ...f });
};
