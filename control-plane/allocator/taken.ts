// Prefixes that a subnet of a network must not overlap, and whose they are.
import type { ReadTx } from "#control-plane/state/types.ts";
import { type Block, blockOf, formatBlock, overlap, readBlock } from "#net/ipam/prefix.ts";
import { TRANSIT_V4, TRANSIT_V6 } from "#net/model/own-prefixes.ts";
import type { Node } from "#proto/gen/types.ts";

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
    const block = readBlock(route);
    // A default route overlaps everything and says nothing.
    if (block !== undefined && block.length > 0)
      taken.push({
        block,
        prefix: formatBlock(block),
        owner: `a route of node ${node.description?.hostname || node.id}`,
      });
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
