// The order of a plan: what is in the way goes first, from the edges inwards; then namespaces, rules, links, addresses,
// and last what makes traffic flow; but forwarding entries and neighbours on links that are there already come before rules,
// which may be many. Within a rank the order of the planner stays. Rules are written before links come up,
// so that no packet passes in between.

import { linkOfSysctl } from "#net/model/host-state.ts";
import type { NetOp, OpName } from "#net/plan/op.ts";

const RANK: { readonly [K in OpName]: number } = {
  "rule-del": 0,
  "route-del": 0,
  "neigh-del": 1,
  "fdb-del": 2,
  "addr-del": 3,
  "link-del": 4,
  "nft-del": 5,
  "netns-del": 6,
  "netns-add": 7,
  "sysctl-set": 8,
  "nft-choices": 11,
  "nft-set": 11,
  "link-add": 12, // bridges before their ports, see below
  "link-set": 15,
  "addr-add": 16,
  "link-up": 17,
  "route-set": 18,
  "rule-add": 19,
  "fdb-set": 20,
  "neigh-set": 21,
};
/** On a link that stays as it is: where a new endpoint is should not wait for the rules of all containers. */
const EARLY_ENTRY_RANK = { "fdb-set": 9, "neigh-set": 10 } as const;

/** After the link was made. */
const LINK_SYSCTL_RANK = RANK["link-set"];
const NEW_LINK_RANK = { bridge: 0, vlan: 0, vxlan: 1, veth: 2, macvlan: 2, ipvlan: 2 } as const;

const rank = (op: NetOp, changing: ReadonlySet<string>): number => {
  if (op.op === "link-add") return RANK[op.op] + NEW_LINK_RANK[op.link.kind];
  if (op.op === "fdb-set" || op.op === "neigh-set")
    return changing.has(`${op.ns}/${op.link}`) ? RANK[op.op] : EARLY_ENTRY_RANK[op.op];
  return op.op === "sysctl-set" && linkOfSysctl(op.key) !== undefined ? LINK_SYSCTL_RANK : RANK[op.op];
};

export const inOrder = (ops: readonly NetOp[]): readonly NetOp[] => {
  const changing = new Set(ops.flatMap(changedLinks));
  const ranks: NetOp[][] = [];
  for (const op of ops) (ranks[rank(op, changing)] ??= []).push(op);
  return ranks.flat();
};

/** As "ns/name": links that this plan makes, or does something to that entries on them may not survive. */
const changedLinks = (op: NetOp): string[] => {
  switch (op.op) {
    case "link-add":
    case "link-del":
    case "link-set":
    case "link-up":
      return [`${op.ns}/${op.name}`];
    case "addr-add":
    case "addr-del":
      return [`${op.ns}/${op.link}`];
    default:
      return [];
  }
};
