// Prefixes that a subnet of a network must not overlap, and whose they are.
import type { ReadTx } from "#control-plane/state/types.ts";
import { type Block, blockOf, canonicalPrefix, overlap } from "#net/ipam/prefix.ts";
import { TRANSIT_V4, TRANSIT_V6 } from "#net/model/own-prefixes.ts";
import type { Network, Node } from "#proto/gen/types.ts";

export type Taken = { readonly block: Block; readonly prefix: string; readonly owner: string };

const ofNetworks = (tx: ReadTx): Taken[] => {
  const taken: Taken[] = [];
  for (const network of tx.all("network"))
    for (const { subnet } of network.subnets)
      taken.push({
        block: blockOf(subnet),
        prefix: subnet,
        owner: `network ${network.spec?.annotations?.name ?? network.id}`,
      });
  return taken;
};

const ofNode = (node: Node): Taken[] => {
  const taken: Taken[] = [];
  for (const route of node.description?.routes ?? []) {
    const prefix = canonicalPrefix(route);
    const block = blockOf(prefix);
    // A default route overlaps everything and says nothing.
    if (block.length > 0)
      taken.push({ block, prefix, owner: `a route of node ${node.description?.hostname || node.id}` });
  }
  return taken;
};

const OWN: readonly Taken[] = [TRANSIT_V4, TRANSIT_V6].map((prefix) => ({
  block: blockOf(prefix),
  prefix,
  owner: "tswarm itself, for the ways out of overlays",
}));

/**
 * `onParent`: the network lies on the wire of the nodes' own interfaces (macvlan, ipvlan), so it has the subnet that they
 * have a route to.
 */
export const takenPrefixes = (tx: ReadTx, onParent: boolean): Taken[] => [
  ...ofNetworks(tx),
  ...(onParent ? [] : [...tx.all("node")].flatMap(ofNode)),
  ...OWN,
];

export const findOverlap = (taken: readonly Taken[], block: Block): Taken | undefined =>
  taken.find((t) => overlap(t.block, block));

/** A network lies where a node has routes of its own: it came or changed after the network was made. */
export type RouteConflict = { readonly hostname: string; readonly route: string; readonly subnet: string };

/** A bridge with a name that the user chose is no link of ours for the node, so its route is reported. */
const isItsOwn = (network: Network, subnet: string, route: string): boolean =>
  subnet === route && network.spec?.options["com.docker.network.bridge.name"] !== undefined;

/** Not for networks on a parent interface, which are meant to be where the nodes are. */
export const routeConflicts = (network: Network, nodes: Iterable<Node>): RouteConflict[] => {
  const conflicts: RouteConflict[] = [];
  for (const node of nodes)
    for (const { block, prefix } of ofNode(node))
      for (const { subnet } of network.subnets)
        if (overlap(blockOf(subnet), block) && !isItsOwn(network, subnet, prefix))
          conflicts.push({ hostname: node.description?.hostname || node.id, route: prefix, subnet });
  return conflicts;
};
