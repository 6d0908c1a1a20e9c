import { digestHex } from "#net/model/digest.ts";

/**
 * A locally administered unicast MAC (02:…, IEEE 802 §8.2) that every node derives alike from the same id: the gateway of
 * an overlay has it everywhere, so that a container keeps its neighbour entry wherever its packets leave.
 */
export const deriveMac = (id: string): string => `02:${digestHex(`mac ${id}`).slice(0, 10).match(/../g)!.join(":")}`;

/** MAC of a node on the network of published ports: other nodes send there what is for its containers. */
export const meshMac = (networkId: string, nodeId: string): string => deriveMac(`${networkId} ${nodeId}`);
