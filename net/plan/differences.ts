// What differs between intent and kernel, object by object, from the ops that would set it right: what a person reads, where
// ops are what the kernel is told. One difference may need several ops, and an op that only follows from another is none.

import {
  addressKey,
  fdbKey,
  type HostState,
  type LinkState,
  linkOfSysctl,
  neighbourKey,
  routeKey,
} from "#net/model/host-state.ts";
import { isOverlayNs, peerNsOfMark } from "#net/model/ifname.ts";
import { backendsOf } from "#net/plan/nat/choices.ts";
import type { NetOp } from "#net/plan/op.ts";
import type { Target, TargetLink } from "#net/plan/target.ts";

export type DifferenceKind =
  | "namespace"
  | "link"
  | "address"
  | "route"
  | "rule"
  | "neighbour"
  | "fdb"
  | "nftables"
  | "sysctl";

export type Difference = {
  readonly kind: DifferenceKind;
  /** "" is the host's. */
  readonly namespace: string;
  /** "br0", "10.0.0.2/24 on eth0". */
  readonly object: string;
  readonly problem: "missing" | "differs" | "unexpected";
  readonly expected: string;
  readonly found: string;
};

/** `ops`: of the plan for this target and state. */
export const differencesOf = (ops: readonly NetOp[], target: Target, observed: HostState): readonly Difference[] => {
  const missing = new Set(ops.flatMap((op) => (op.op === "netns-add" ? [op.ns] : [])));
  const found: Difference[] = [];
  for (const op of ops) {
    if (op.op !== "netns-add" && missing.has(op.ns)) continue;
    const difference = differenceOf(op, target, observed);
    if (difference !== undefined) found.push({ namespace: op.ns, ...difference });
  }
  return found;
};

/** As one line, for logs. */
export const renderDifference = ({ kind, namespace, object, problem, expected, found }: Difference): string => {
  const where = namespace === "" ? "host" : namespace;
  const what = `${where}: ${kind} ${object}`;
  if (problem === "differs") return `${what}: ${found || "nothing"} instead of ${expected}`;
  return `${what}: ${problem}${expected || found ? ` (${expected || found})` : ""}`;
};

/** How many objects a target consists of. */
export const countObjects = (target: Target): number => {
  let count = 0;
  for (const { links, addresses, routes, rules, neighbours, fdb, sysctls, ruleset } of target.values()) {
    count += 1 + (ruleset === undefined ? 0 : 1);
    for (const { size } of [links, addresses, routes, rules, neighbours, fdb, sysctls]) count += size;
  }
  return count;
};

type Found = Omit<Difference, "namespace">;

const missing = (kind: DifferenceKind, object: string, expected = ""): Found => ({
  kind,
  object,
  problem: "missing",
  expected,
  found: "",
});
const unexpected = (kind: DifferenceKind, object: string, found = ""): Found => ({
  kind,
  object,
  problem: "unexpected",
  expected: "",
  found,
});
const differs = (kind: DifferenceKind, object: string, expected: string, found: string): Found => ({
  kind,
  object,
  problem: "differs",
  expected,
  found,
});

const differenceOf = (op: NetOp, target: Target, observed: HostState): Found | undefined => {
  const want = target.get(op.ns);
  const have = observed.namespaces.get(op.ns);
  switch (op.op) {
    case "netns-add":
      return missing("namespace", op.ns);
    case "netns-del":
      return unexpected("namespace", op.ns);
    case "sysctl-set": {
      const value = have?.sysctls.get(op.key);
      // The setting of a link that is made again comes back with it.
      if (value === op.value || (value === undefined && linkOfSysctl(op.key) !== undefined)) return undefined;
      return differs("sysctl", op.key.replaceAll("/", "."), op.value, value ?? "");
    }
    case "link-add": {
      const existing = have?.links.get(op.name);
      const wanted = describeWanted(want!.links.get(op.name)!);
      return existing === undefined
        ? missing("link", op.name, wanted)
        : differs("link", op.name, wanted, describe(existing));
    }
    case "link-del": {
      const link = have?.links.get(op.name);
      if (want?.links.has(op.name) || link === undefined || leavesByItself(link, target, observed)) return undefined;
      return unexpected("link", op.name, describe(link));
    }
    case "link-set":
      return changedLink(op, want?.links.get(op.name), have?.links.get(op.name));
    case "link-up": {
      const link = have?.links.get(op.name);
      return link === undefined || link.up ? undefined : differs("link", op.name, "up", "down");
    }
    case "addr-add":
      return have?.addresses.has(addressKey(op)) ? undefined : missing("address", `${op.address} on ${op.link}`);
    case "addr-del":
      return unexpected("address", `${op.address} on ${op.link}`);
    case "route-set": {
      const existing = have?.routes.get(routeKey(op));
      if (existing === undefined) return missing("route", op.destination, way(op));
      return way(existing) === way(op) ? undefined : differs("route", op.destination, way(op), way(existing));
    }
    case "route-del":
      return unexpected("route", op.destination, way(op));
    case "rule-add":
      return missing("rule", describeRule(op));
    case "rule-del":
      return unexpected("rule", describeRule(op));
    case "neigh-set": {
      const existing = have?.neighbours.get(neighbourKey(op));
      if (existing === undefined) return missing("neighbour", `${op.ip} on ${op.link}`, op.mac);
      return existing.mac === op.mac ? undefined : differs("neighbour", `${op.ip} on ${op.link}`, op.mac, existing.mac);
    }
    case "neigh-del":
      return unexpected("neighbour", `${op.ip} on ${op.link}`, op.mac);
    case "fdb-set": {
      const existing = have?.fdb.get(fdbKey(op));
      if (existing === undefined) return missing("fdb", `${op.mac} on ${op.link}`, op.vtep);
      return existing.vtep === op.vtep ? undefined : differs("fdb", `${op.mac} on ${op.link}`, op.vtep, existing.vtep);
    }
    case "fdb-del":
      return unexpected("fdb", `${op.mac} on ${op.link}`, op.vtep);
    case "nft-set":
      if (!op.replaces) return missing("nftables", "table inet tswarm", `ruleset ${op.digest}`);
      return differs(
        "nftables",
        "table inet tswarm",
        `ruleset ${op.digest}`,
        have?.nftDigest === "damaged" ? "something else" : `ruleset ${have?.nftDigest}`,
      );
    case "nft-choices": {
      const changed = op.changes.map((change) => ({ name: change.choice.name, ...backendsOf(change) }));
      const list = (key: "added" | "removed"): string =>
        changed.flatMap((each) => (each[key].length === 0 ? [] : `${each[key].join(", ")} in ${each.name}`)).join("; ");
      const [expected, found] = [list("added"), list("removed")];
      const object = "backends in table inet tswarm";
      if (found === "") return missing("nftables", object, expected);
      return expected === "" ? unexpected("nftables", object, found) : differs("nftables", object, expected, found);
    }
    case "nft-del":
      return unexpected("nftables", "table inet tswarm");
  }
};

/** The outer end of a container or overlay that has just left: the kernel removes it some time after the namespace. */
const leavesByItself = (link: LinkState, target: Target, observed: HostState): boolean => {
  const peer = peerNsOfMark(link.alias);
  return peer !== undefined && !target.has(peer) && !isOverlayNs(peer) && !observed.namespaces.has(peer);
};

type Described = Partial<Pick<LinkState, "kind" | "mtuBytes" | "mac" | "master" | "vxlan" | "upper">>;

const describe = ({ kind, mtuBytes, mac, master, vxlan, upper }: Described): string =>
  [
    kind,
    mtuBytes !== undefined && `mtu ${mtuBytes}`,
    mac && `mac ${mac}`,
    master && `port of ${master}`,
    vxlan && `VNI ${vxlan.vni} from ${vxlan.local}:${vxlan.port}`,
    upper && `${upper.mode} on ${upper.lower}`,
  ]
    .filter(Boolean)
    .join(", ");
const describeWanted = (link: TargetLink): string => describe(link);

const changedLink = (
  { name, change }: Extract<NetOp, { op: "link-set" }>,
  want: TargetLink | undefined,
  have: LinkState | undefined,
): Found | undefined => {
  // A link that is made (again) has its difference already.
  if (want === undefined || have === undefined) return undefined;
  const expected: string[] = [];
  const found: string[] = [];
  for (const key of Object.keys(change) as (keyof typeof change)[]) {
    const [to, is] = [change[key], have[key]];
    if (to === is) continue;
    const word = { mtuBytes: "mtu", master: "port of" }[key as string] ?? key;
    expected.push(`${word} ${to === "" ? "none" : to}`);
    found.push(`${word} ${is === "" ? "none" : is}`);
  }
  return expected.length === 0 ? undefined : differs("link", name, expected.join(", "), found.join(", "));
};

const way = ({ via, link, table, metric }: Extract<NetOp, { op: "route-set" | "route-del" }> | RouteWay): string =>
  [
    via && `via ${via}`,
    link && `on ${link}`,
    table !== 254 && `in table ${table}`,
    metric !== undefined && `metric ${metric}`,
  ]
    .filter(Boolean)
    .join(" ");
type RouteWay = { readonly via: string; readonly link: string; readonly table: number; readonly metric?: number };

const describeRule = (op: Extract<NetOp, { op: "rule-add" | "rule-del" }>): string =>
  [
    `IPv${op.family} ${op.priority}:`,
    op.from && `from ${op.from}`,
    op.to && `to ${op.to}`,
    op.mark !== 0 && `mark ${op.mark}`,
    op.inputName && `in ${op.inputName}`,
    op.outputName && `out ${op.outputName}`,
    `table ${op.table}`,
  ]
    .filter(Boolean)
    .join(" ");
