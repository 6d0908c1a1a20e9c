// One cluster for a test file, and what its tests ask it.
import { resolve } from "node:path";
import { ensureImages } from "#test-cluster/images/images.ts";
import { createCluster, findCluster, type TestCluster, tsctl } from "#test-cluster/netns/cluster.ts";
import { formCluster, loadImages } from "#test-cluster/netns/form.ts";
import { sleep } from "#test-cluster/netns/system.ts";

export type Row = Readonly<Record<string, string>>;

export const startCluster = async (
  name: string,
  number: number,
  nodes = 3,
  managers = 3,
  flags: string[] = [],
  family: 4 | 6 = 4,
): Promise<TestCluster> => {
  await findCluster(name)?.down();
  const { images } = await ensureImages();
  const cluster = await createCluster({ name, number, nodes });
  try {
    // With 6 nodes have no IPv4 address that anything could fall back on.
    if (family === 6)
      for (const node of cluster.layout.nodes) cluster.onHost(node.name, "ip", "-4", "addr", "flush", "dev", "eth0");
    await formCluster(cluster, managers, flags, family);
    loadImages(
      cluster,
      images.map((i) => i.archive),
    );
  } catch (error) {
    await cluster.down();
    throw error;
  }
  return cluster;
};

/** `tsctl … --format json`: one object a line. */
export const list = (cluster: TestCluster, node: string, ...args: string[]): Row[] =>
  tsctl(cluster.node(node), ...args, "--format", "{{json .}}")
    .split("\n")
    .filter((l) => l !== "")
    .map((l) => JSON.parse(l));

/** Asks again until it holds: for what the world outside of tswarm has to do. */
export const eventually = async <T>(what: string, timeoutMs: number, ask: () => T | undefined | false): Promise<T> => {
  let last: unknown;
  for (const deadline = Date.now() + timeoutMs; ; await sleep(100)) {
    try {
      const answer = ask();
      if (answer !== undefined && answer !== false) return answer;
    } catch (error) {
      last = error;
    }
    if (Date.now() > deadline) throw new Error(`not within ${timeoutMs} ms: ${what}`, { cause: last });
  }
};

/** stderr of a command that must be refused. */
export const refused = (cluster: TestCluster, node: string, ...args: string[]): string => {
  try {
    tsctl(cluster.node(node), ...args);
  } catch (error) {
    return (error as { stderr: string }).stderr;
  }
  throw new Error(`tsctl ${args.join(" ")} was not refused`);
};

export const exec = (cluster: TestCluster, task: string, ...command: string[]): string =>
  tsctl(cluster.node("node1"), "exec", task, ...command);

export const ROOT = resolve(import.meta.dirname, "../..");
