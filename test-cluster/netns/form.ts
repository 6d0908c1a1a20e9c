// From hosts to a cluster: agents, one init, joins, images on every node.
import { type TestCluster, tsctl } from "#test-cluster/netns/cluster.ts";
import type { NodeLayout } from "#test-cluster/netns/layout.ts";

const token = (cluster: TestCluster, role: "manager" | "worker"): string =>
  tsctl(cluster.layout.nodes[0]!, "cluster", "join-token", "--quiet", role).trim();

/**
 * The first node makes the cluster, the others join it: the first `managers` of them as managers. All that nodes say to each
 * other is in the `family`.
 */
export const formCluster = async (
  cluster: TestCluster,
  managers: number,
  initFlags: readonly string[] = [],
  family: 4 | 6 = 4,
): Promise<void> => {
  const [first, ...others] = cluster.layout.nodes;
  const address = (node: NodeLayout): string => node[`ipv${family}`];
  const manager = family === 4 ? `${first!.ipv4}:2377` : `[${first!.ipv6}]:2377`;
  await Promise.all(cluster.layout.nodes.map((n) => cluster.startAgent(n.name)));
  tsctl(first!, "cluster", "init", "--advertise-addr", address(first!), ...initFlags);
  for (const [i, node] of others.entries()) {
    const secret = token(cluster, i + 1 < managers ? "manager" : "worker");
    tsctl(node, "cluster", "join", "--advertise-addr", address(node), "--token", secret, manager);
  }
};

export const loadImages = (cluster: TestCluster, archives: readonly string[]): void => {
  for (const node of cluster.layout.nodes)
    for (const archive of archives) tsctl(node, "image", "load", "--quiet", "--input", archive);
};
