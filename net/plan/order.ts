// The order of a plan: what is in the way goes first, from the edges inwards; then namespaces, rules, links, addresses,
// and last what makes traffic flow. Within a rank the order of the planner stays. Rules are written before links come up,
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
  "nft-set": 9,
  "link-add": 10, // bridges before their ports, see below
  "link-set": 13,
  "addr-add": 14,
  "link-up": 15,
  "route-set": 16,
  "rule-add": 17,
  "fdb-set": 18,
  "neigh-set": 19,
};

/** After the link was made. */
const LINK_SYSCTL_RANK = RANK["link-set"];
const NEW_LINK_RANK = { bridge: 0, vlan: 0, vxlan: 1, veth: 2, macvlan: 2, ipvlan: 2 } as const;

const rank = (op: NetOp): number => {
  if (op.op === "link-add") return RANK[op.op] + NEW_LINK_RANK[op.link.kind];
  return op.op === "sysctl-set" && linkOfSysctl(op.key) !== undefined ? LINK_SYSCTL_RANK : RANK[op.op];
};

export const inOrder = (ops: readonly NetOp[]): readonly NetOp[] => {
  const ranks: NetOp[][] = [];
  for (const op of ops) (ranks[rank(op)] ??= []).push(op);
  return ranks.flat();
};
