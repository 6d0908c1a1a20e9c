// Carries out ops on the real kernel. An op without an executor does not compile.

import { TswarmError } from "#base/errors.ts";
import type { Rule } from "#net/codec/rule.ts";
import type { Kernel } from "#net/exec/kernel.ts";
import { choose, writeTable } from "#net/exec/tables.ts";
import { createNetns, deleteNetns } from "#net/kernel/netns.ts";
import type { LinkAdd, NeighOp, RouteSpec } from "#net/kernel/rtnl.ts";
import { writeSysctl } from "#net/kernel/sysctl.ts";
import { isGroupMac, ROUTE_PROTOCOL, type RouteState, type RuleState } from "#net/model/host-state.ts";
import { LINK_GROUP } from "#net/model/ifname.ts";
import { DELETE_TABLE } from "#net/plan/nat/ruleset.ts";
import type { NetOp, NewLink } from "#net/plan/op.ts";

type Op<K extends NetOp["op"]> = Extract<NetOp, { op: K }>;
export type Executors = { readonly [K in NetOp["op"]]: (op: Op<K>, kernel: Kernel) => void };

/** No spanning tree: our bridges are never in a loop, and a port must pass traffic at once. */
const BRIDGE = { kind: "bridge", mcastSnooping: false, forwardDelay: 0, stp: false } as const;

const linkAdd = ({ ns, name, link }: Op<"link-add">, kernel: Kernel): void => {
  const common = { name, group: LINK_GROUP, mtu: link.mtuBytes, ...(link.mac !== "" && { address: link.mac }) };
  switch (link.kind) {
    case "bridge":
      kernel.rtnl(ns).linkAdd({ ...common, spec: BRIDGE });
      break;
    case "veth": {
      const { peer, master, mtuBytes } = link;
      const netns = kernel.path(peer.ns);
      const end = {
        name: peer.name,
        group: LINK_GROUP,
        mtu: mtuBytes,
        ...(peer.mac !== "" && { address: peer.mac }),
        ...(netns !== null && { netns }),
      };
      kernel.rtnl(ns).linkAdd({ ...common, ...masterOf(master), spec: { kind: "veth", peer: end } });
      break;
    }
    case "vxlan": {
      const { vni, port, local } = link.vxlan;
      const netns = kernel.path(ns);
      // Asked for through the host's socket: the kernel opens the UDP socket in the namespace that asks.
      kernel.rtnl("").linkAdd({
        ...common,
        ...masterOf(link.master),
        ...(netns !== null && { netns }),
        spec: { kind: "vxlan", id: vni, port, local, learning: false, proxy: true },
      });
      break;
    }
    default: {
      const netns = kernel.path(ns);
      // Asked for in the host's namespace, where its lower link is.
      kernel.rtnl("").linkAdd({ ...common, ...(ns !== "" && netns !== null && { netns }), spec: upperSpec(link) });
    }
  }
};

const upperSpec = ({ kind, upper }: Extract<NewLink, { upper: unknown }>): LinkAdd["spec"] => {
  if (kind === "vlan") return { kind, id: Number(upper.mode), parent: upper.lower };
  const [mode, flag] = upper.mode.split(" ");
  // These are the kernel's names: the planner has no others.
  return { kind, mode, ...(flag && { flag }), parent: upper.lower } as LinkAdd["spec"];
};

const masterOf = (master: string): Pick<LinkAdd, "master"> => (master === "" ? {} : { master });

const EXECUTORS: Executors = {
  "netns-add": ({ ns }, kernel) => createNetns(kernel.path(ns)!),
  "netns-del": ({ ns }, kernel) => {
    kernel.release(ns);
    kernel.tables.delete(ns);
    deleteNetns(kernel.path(ns)!);
  },
  "sysctl-set": ({ ns, key, value }, kernel) => writeSysctl(kernel.path(ns), key, value),
  "link-add": linkAdd,
  "link-del": ({ ns, name }, kernel) => kernel.rtnl(ns).linkDel(name),
  "link-set": ({ ns, name, change }, kernel) => {
    const { mtuBytes, mac, alias, master, isolated, hairpin, noBroadcast } = change;
    kernel.rtnl(ns).linkSet(name, {
      ...(mtuBytes !== undefined && { mtu: mtuBytes }),
      ...(mac !== undefined && { address: mac }),
      ...(alias !== undefined && { alias }),
      ...(master !== undefined && { master: master === "" ? null : master }),
    });
    // A message of its own: the kernel looks the bridge up before it changes it.
    const port = {
      ...(isolated !== undefined && { isolated }),
      ...(hairpin !== undefined && { hairpin }),
      ...(noBroadcast !== undefined && { bcastFlood: !noBroadcast }),
    };
    if (Object.keys(port).length > 0) kernel.rtnl(ns).linkSet(name, { port });
  },
  "link-up": ({ ns, name }, kernel) => kernel.rtnl(ns).linkSet(name, { up: true }),
  "addr-add": ({ ns, link, address }, kernel) => kernel.rtnl(ns).addrAdd({ link, cidr: address }),
  "addr-del": ({ ns, link, address }, kernel) => kernel.rtnl(ns).addrDel({ link, cidr: address }),
  "route-set": (op, kernel) => kernel.rtnl(op.ns).routeReplace(routeOf(op)),
  "route-del": (op, kernel) => kernel.rtnl(op.ns).routeDel(routeOf(op)),
  "rule-add": (op, kernel) => kernel.rtnl(op.ns).ruleAdd(ruleOf(op)),
  "rule-del": (op, kernel) => kernel.rtnl(op.ns).ruleDel(ruleOf(op)),
  "neigh-set": one,
  "neigh-del": one,
  "fdb-set": one,
  "fdb-del": one,
  "nft-set": writeTable,
  "nft-choices": choose,
  "nft-del": ({ ns }, kernel) => void kernel.nft(ns).run(DELETE_TABLE),
};

function routeOf({ table, destination, via, link, metric }: RouteState): RouteSpec {
  return {
    table,
    destination,
    protocol: ROUTE_PROTOCOL,
    ...(link !== "" && { link }),
    ...(via !== "" && { gateway: via }),
    ...(metric !== undefined && { metric }),
  };
}

function ruleOf({ family, priority, from, mark, table, to, inputName, outputName }: RuleState): Rule {
  return {
    family: family === 4 ? "inet" : "inet6",
    priority,
    table,
    protocol: ROUTE_PROTOCOL,
    ...(from !== "" && { from }),
    ...(mark !== 0 && { mark }),
    ...(to !== undefined && { to }),
    ...(inputName !== undefined && { inputName }),
    ...(outputName !== undefined && { outputName }),
  };
}

type EntryOp = Op<"neigh-set" | "neigh-del" | "fdb-set" | "fdb-del">;

const isEntry = (op: NetOp): op is EntryOp =>
  op.op === "neigh-set" || op.op === "neigh-del" || op.op === "fdb-set" || op.op === "fdb-del";

const entryOf = (op: EntryOp): NeighOp => {
  switch (op.op) {
    case "neigh-set":
      return { op: "neigh-replace", link: op.link, address: op.ip, mac: op.mac };
    case "neigh-del":
      return { op: "neigh-del", link: op.link, address: op.ip, mac: op.mac };
    case "fdb-set":
      return {
        op: isGroupMac(op.mac) ? "fdb-append" : "fdb-replace",
        link: op.link,
        mac: op.mac,
        destination: op.vtep,
      };
    case "fdb-del":
      return { op: "fdb-del", link: op.link, mac: op.mac, destination: op.vtep };
  }
};

function one(op: EntryOp, kernel: Kernel): void {
  const [error] = kernel.rtnl(op.ns).neighBatch([entryOf(op)]);
  if (error) throw error;
}

export type Outcome = (op: NetOp, error: TswarmError | null) => void;

/**
 * Carries out all ops, also after one failed: what does not depend on it still gets done. Nothing is done to a link that
 * could not be made, for there may be one of that name that is someone else's. Each outcome is told in order.
 */
export const execute = (ops: readonly NetOp[], kernel: Kernel, outcome: Outcome): void => {
  const notMade = new Set<string>();
  for (let i = 0; i < ops.length; ) {
    const run = entriesFrom(ops, i);
    if (run.length > 1) {
      const errors = batch(run, kernel);
      for (const [j, op] of run.entries()) outcome(op, tolerated(op, errors[j]!));
      i += run.length;
      continue;
    }
    const op = ops[i]!;
    const missing = linksOf(op).find((link) => notMade.has(link));
    const error = missing === undefined ? tolerated(op, attempt(op, kernel)) : refusedFor(missing);
    if (error !== null && op.op === "link-add") notMade.add(`${op.ns}/${op.name}`);
    outcome(op, error);
    i++;
  }
};

/** The links that an op works on, as "ns/name". */
const linksOf = (op: NetOp): string[] => {
  switch (op.op) {
    case "link-add":
      return "master" in op.link ? [`${op.ns}/${op.link.master}`] : [];
    case "link-set":
      return [`${op.ns}/${op.name}`, `${op.ns}/${op.change.master ?? ""}`];
    case "link-up":
      return [`${op.ns}/${op.name}`];
    case "addr-add":
    case "route-set":
      return [`${op.ns}/${op.link}`];
    default:
      return [];
  }
};

const refusedFor = (link: string): TswarmError =>
  new TswarmError("unavailable", `the link ${link.slice(link.indexOf("/") + 1)} could not be made`);

/** Consecutive forwarding and neighbour entries of one namespace go in one send. */
const entriesFrom = (ops: readonly NetOp[], from: number): EntryOp[] => {
  const run: EntryOp[] = [];
  for (let i = from; i < ops.length; i++) {
    const op = ops[i]!;
    if (!isEntry(op) || op.ns !== ops[from]!.ns) break;
    run.push(op);
  }
  return run;
};

const batch = (run: readonly EntryOp[], kernel: Kernel): (TswarmError | null)[] => {
  try {
    return kernel.rtnl(run[0]!.ns).neighBatch(run.map(entryOf));
  } catch (error) {
    const failed = TswarmError.from(error);
    return run.map(() => failed);
  }
};

const attempt = (op: NetOp, kernel: Kernel): TswarmError | null => {
  try {
    (EXECUTORS[op.op] as (op: NetOp, kernel: Kernel) => void)(op, kernel);
    return null;
  } catch (error) {
    return TswarmError.from(error);
  }
};

/** Deleting what has gone by itself (a veth whose other namespace went) is done. */
const tolerated = (op: NetOp, error: TswarmError | null): TswarmError | null =>
  error?.code === "not_found" && op.op.endsWith("-del") ? null : error;
