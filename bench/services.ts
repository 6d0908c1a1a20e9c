// Seconds from the call that creates a service to all of its tasks running, as a client sees them on the watch stream; to
// all of them gone after its removal; scaling; CPU seconds a replica. Three nodes, all managers, one overlay network,
// busybox `sleep`. The peer's figures were taken alike. Usage, as root: node bench/services.ts [most replicas = 300]

import type { TestCluster } from "#test-cluster/netns/cluster.ts";
import { type Control, cpuSeconds, withCluster } from "./measure/cluster.ts";
import { tell } from "./measure/figures.ts";
import { createOverlay, hasEnded, isRunning, sleepers, type TaskWatch, watchTasks } from "./measure/tasks.ts";

const NODES = 3;
/** Replicas, runs, what Swarm needed to create and to remove them. */
const SIZES: readonly { replicas: number; runs: number; create?: number; remove?: number }[] = [
  { replicas: 1, runs: 7, create: 1.08, remove: 5.8 },
  { replicas: 10, runs: 5, create: 3.39 },
  { replicas: 50, runs: 3, create: 14.1 },
  { replicas: 100, runs: 3, create: 24.7, remove: 15.2 },
  { replicas: 300, runs: 2 },
];
const SCALE_RUNS = 3;
const SWARM_CPU = 0.42;

type Bench = {
  readonly cluster: TestCluster;
  readonly control: Control;
  readonly watch: TaskWatch;
  readonly network: string;
};

const create = async ({ control, watch, network }: Bench, replicas: number): Promise<{ id: string; s: number }> => {
  const at = performance.now();
  const { service } = await control.createService({ spec: sleepers("bench", network, replicas) });
  const id = service!.id;
  const all = await watch.until(`${replicas} running`, (t) => t.filter(isRunning).length === replicas, id);
  return { id, s: (all - at) / 1000 };
};

const remove = async ({ control, watch }: Bench, id: string): Promise<number> => {
  const at = performance.now();
  await control.removeService({ ref: id });
  return ((await watch.until("gone", (t) => t.length === 0, id)) - at) / 1000;
};

const scale = async ({ control, watch }: Bench, id: string, replicas: number): Promise<{ s: number; gone: number }> => {
  const { service } = await control.getService({ ref: id });
  const spec = { ...service!.spec!, replicas };
  const at = performance.now();
  await control.updateService({ id, version: service!.meta!.version, spec, rollback: false });
  const settled = await watch.until(
    `${replicas} running`,
    (t) => t.every((x) => isRunning(x) || hasEnded(x)) && t.filter(isRunning).length === replicas,
    id,
  );
  const gone = await watch.until("records gone", (t) => t.length === replicas, id);
  return { s: (settled - at) / 1000, gone: (gone - at) / 1000 };
};

const most = Number(process.argv[2] ?? 300);
await withCluster(NODES, async (cluster, control) => {
  const watch = await watchTasks(control);
  const bench = { cluster, control, watch, network: await createOverlay(control, "bench") };
  // The first container of a process compiles its seccomp filter, the first overlay its namespace.
  await remove(bench, (await create(bench, NODES)).id);
  for (const size of SIZES.filter((s) => s.replicas <= most)) {
    const created: number[] = [];
    const removed: number[] = [];
    const cpu: number[] = [];
    for (let run = 0; run < size.runs; run++) {
      const before = cpuSeconds(cluster);
      const { id, s } = await create(bench, size.replicas);
      created.push(s);
      cpu.push((cpuSeconds(cluster) - before) / size.replicas);
      removed.push(await remove(bench, id));
    }
    tell(`create → all running, ${size.replicas} replicas`, created, "s", 2, size.create);
    tell("  CPU of all nodes per replica", cpu, "s", 3, SWARM_CPU);
    tell("  remove → all gone", removed, "s", 2, size.remove);
  }
  if (most >= 50) {
    const { id } = await create(bench, 10);
    const up: number[] = [];
    const down: number[] = [];
    const gone: number[] = [];
    for (let run = 0; run < SCALE_RUNS; run++) {
      up.push((await scale(bench, id, 50)).s);
      const less = await scale(bench, id, 10);
      down.push(less.s);
      gone.push(less.gone);
    }
    tell("scale 10 → 50", up, "s", 2, 9.7);
    tell("scale 50 → 10, stopped", down, "s", 2, 4.3);
    tell("  records gone", gone, "s", 2, 9.2);
    await remove(bench, id);
  }
  await control.removeNetwork({ ref: bench.network });
  watch.close();
});
