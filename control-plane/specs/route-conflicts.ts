import { blockOf, formatBlock, overlap, readBlock } from "#net/ipam/prefix.ts";
import { bridgeOptions } from "#net/model/driver-options.ts";
import type { Network, Node } from "#proto/gen/types.ts";

/** A network lies where a node has a route of its own: the node came, or its route did, after the network was made. */
export type RouteConflict = { readonly hostname: string; readonly route: string; readonly subnet: string };

/** Networks on a parent interface are meant to be where the nodes are. */
const isOnParent = (network: Network): boolean =>
  network.spec?.driver === "macvlan" || network.spec?.driver === "ipvlan";

/** A bridge with a name that the user chose does not look like one of ours to the node, which reports its route. */
const isItsOwn = (network: Network, subnet: string, route: string): boolean =>
  subnet === route && bridgeOptions(network.spec?.options ?? {}).name !== "";

export const routeConflicts = (network: Network, nodes: Iterable<Node>): RouteConflict[] => {
  if (isOnParent(network)) return [];
  const conflicts: RouteConflict[] = [];
  for (const node of nodes)
    for (const reported of node.description?.routes ?? []) {
      const block = readBlock(reported);
      if (block === undefined || block.length === 0) continue;
      const route = formatBlock(block);
      for (const { subnet } of network.subnets)
        if (overlap(blockOf(subnet), block) && !isItsOwn(network, subnet, route))
          conflicts.push({ hostname: node.description?.hostname || node.id, route, subnet });
    }
  return conflicts;
};
