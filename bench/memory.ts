// MiB of memory of the agent, of the manager, and of everything of a node (with one conmon per container): idle, and with
// 50 containers on each of three nodes. RSS counts shared pages in every process, PSS shares them out.
// Usage, as root: node bench/memory.ts
import { readFileSync } from "node:fs";
import type { TestCluster } from "#test-cluster/netns/cluster.ts";
import { cgroupProcesses, sleep } from "#test-cluster/netns/system.ts";
import { withCluster } from "./measure/cluster.ts";
import { tell } from "./measure/figures.ts";
import { createOverlay, isRunning, sleepers, watchTasks } from "./measure/tasks.ts";

const NODES = 3;
const CONTAINERS = 50;
const SETTLE_MS = 5_000;

type Memory = { readonly rss: number; readonly pss: number };

const memoryOf = (pids: readonly number[]): Memory => {
  let rss = 0;
  let pss = 0;
  for (const pid of pids) {
    const text = readFileSync(`/proc/${pid}/smaps_rollup`, "utf8");
    const mib = (name: string) => Number(new RegExp(`^${name}: +(\\d+) kB`, "m").exec(text)![1]) / 1024;
    rss += mib("Rss");
    pss += mib("Pss");
  }
  return { rss, pss };
};

/** `peer`: dockerd, containerd and shims of one node. */
const show = (cluster: TestCluster, when: string, peer: Memory | undefined): void => {
  const { nodes } = cluster.layout;
  const parts: [string, (name: string, cgroup: string) => number[], Memory | undefined][] = [
    ["agent", (name) => [cluster.agentPid(name)], undefined],
    ["manager", (name) => [cluster.managerPid(name)], undefined],
    ["agent, manager, conmons of a node", (_, cgroup) => cgroupProcesses(`${cgroup}/host`), peer],
  ];
  for (const [what, pids, beside] of parts) {
    const measured = nodes.map(({ name, cgroup }) => memoryOf(pids(name, cgroup)));
    tell(
      `${when}: ${what}, RSS`,
      measured.map((m) => m.rss),
      "MiB",
      0,
      beside?.rss,
    );
    tell(
      `${when}: ${what}, PSS`,
      measured.map((m) => m.pss),
      "MiB",
      0,
      beside?.pss || undefined,
    );
  }
};

await withCluster(NODES, async (cluster, control) => {
  await sleep(SETTLE_MS);
  show(cluster, "idle", { rss: 133, pss: 0 });
  const watch = await watchTasks(control);
  const network = await createOverlay(control, "bench");
  const { service } = await control.createService({ spec: sleepers("bench", network, NODES * CONTAINERS) });
  const id = service!.id;
  await watch.until("all running", (tasks) => tasks.filter(isRunning).length === NODES * CONTAINERS, id);
  await sleep(SETTLE_MS);
  show(cluster, `${CONTAINERS} containers`, { rss: 840, pss: 270 });
  watch.close();
});
