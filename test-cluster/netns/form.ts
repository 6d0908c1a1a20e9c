// From hosts to a cluster: agents, one init, joins, images on every node.
import { type TestCluster, tsctl } from "#test-cluster/netns/cluster.ts";

const token = (cluster: TestCluster, role: "manager" | "worker"): string =>
  tsctl(cluster.layout.nodes[0]!, "cluster", "join-token", "--quiet", role).trim();

/** The first node makes the cluster, the others join it: the first `managers` of them as managers. */
export const formCluster = async (
  cluster: TestCluster,
  managers: number,
  initFlags: readonly string[] = [],
): Promise<void> => {
  const [first, ...others] = cluster.layout.nodes;
  await Promise.all(cluster.layout.nodes.map((n) => cluster.startAgent(n.name)));
  tsctl(first!, "cluster", "init", "--advertise-addr", first!.ipv4, ...initFlags);
  for (const [i, node] of others.entries()) {
    const role = i + 1 < managers ? "manager" : "worker";
    tsctl(
      node,
      "cluster",
      "join",
      "--advertise-addr",
      node.ipv4,
      "--token",
      token(cluster, role),
      `${first!.ipv4}:2377`,
    );
  }
};

export const loadImages = (cluster: TestCluster, archives: readonly string[]): void => {
  for (const node of cluster.layout.nodes)
    for (const archive of archives) tsctl(node, "image", "load", "--quiet", "--input", archive);
};
