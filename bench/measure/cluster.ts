// A cluster of its own for a bench: three nodes, all managers, as the peers' figures were taken. It goes whatever happens.
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { ControlDefinition } from "#proto/gen/control.ts";
import { createClient, openChannel, type RpcClient } from "#proto/rpc/client.ts";
import { ensureImages } from "#test-cluster/images/images.ts";
import { createCluster, findCluster, type TestCluster } from "#test-cluster/netns/cluster.ts";
import { formCluster, loadImages } from "#test-cluster/netns/form.ts";
import { cgroupRoots } from "#test-cluster/netns/system.ts";

const NAME = "tswbench";
const NUMBER = 81;

export type Control = RpcClient<ControlDefinition>;

/** Runs `bench` against new hosts on which no agent runs yet, and takes them away. */
export const withHosts = async (nodes: number, bench: (hosts: TestCluster) => Promise<void>): Promise<void> => {
  await findCluster(NAME)?.down();
  const cluster = await createCluster({ name: NAME, number: NUMBER, nodes });
  const stop = (): void => void cluster.down().finally(() => process.exit(1));
  process.once("SIGINT", stop).once("SIGTERM", stop);
  try {
    await bench(cluster);
  } finally {
    await cluster.down();
    process.off("SIGINT", stop).off("SIGTERM", stop);
  }
};

/** What the containers of a bench are made of. */
export const loadBenchImages = async (cluster: TestCluster): Promise<void> => {
  const { images } = await ensureImages();
  loadImages(
    cluster,
    images.filter((i) => /busybox|tools/.test(i.archive)).map((i) => i.archive),
  );
};

/** Runs `bench` against a new cluster and a client of its first node, and takes both away. */
export const withCluster = (
  nodes: number,
  bench: (cluster: TestCluster, control: Control) => Promise<void>,
): Promise<void> =>
  withHosts(nodes, async (cluster) => {
    await formCluster(cluster, nodes);
    await loadBenchImages(cluster);
    const channel = openChannel(`unix:${cluster.layout.nodes[0]!.socket}`);
    try {
      await bench(cluster, createClient(ControlDefinition, channel));
    } finally {
      channel.close();
    }
  });

/** CPU seconds that everything in a cluster has used so far: agents, managers, runtime, containers. */
export const cpuSeconds = (cluster: TestCluster): number => {
  const files = (name: string) =>
    cgroupRoots()
      .map((root) => join(root, cluster.layout.cgroup, name))
      .filter((path) => existsSync(path));
  const [v1] = files("cpuacct.usage");
  if (v1 !== undefined) return Number(readFileSync(v1, "utf8")) / 1e9;
  const [v2] = files("cpu.stat");
  if (v2 === undefined) throw new Error("no cgroup counts the CPU time of the cluster");
  return Number(/^usage_usec (\d+)/m.exec(readFileSync(v2, "utf8"))![1]) / 1e6;
};
