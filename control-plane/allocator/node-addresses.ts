// Each node has an address of each family on the ingress network: packets that it accepts for a published port go from there to
// the node of the task.
import type { Tx } from "#control-plane/state/types.ts";
import type { Network, NodeAddress } from "#proto/gen/types.ts";
import { addressPair, newLookups } from "./addresses.ts";

/** Gives nodes that have joined what they lack; what removed ones had is released. A node that finds none waits. */
export const completeNodes = (tx: Tx): void => {
  const network = tx.ingressNetwork();
  if (network === undefined || network.subnets.length === 0) return;
  const kept = network.nodes.filter(({ nodeId }) => tx.get("node", nodeId) !== undefined);
  let current: Network = network;
  if (kept.length < network.nodes.length) current = put(tx, network, kept);
  const known = new Set(kept.map(({ nodeId }) => nodeId));
  const lookups = newLookups();
  for (const { id } of tx.all("node")) {
    if (known.has(id)) continue;
    const result = addressPair(tx, current, lookups);
    if ("full" in result) return;
    current = put(tx, current, [...current.nodes, { nodeId: id, ...result.pair }]);
  }
};

const put = (tx: Tx, network: Network, nodes: NodeAddress[]): Network => {
  const next = { ...network, nodes };
  tx.put("network", next);
  return next;
};
