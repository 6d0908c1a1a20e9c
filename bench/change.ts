// What a change costs when an overlay has 1,000 endpoints on three nodes: one task more, and how long from the moment at which
// it runs (as the watch stream tells it) until the kernels of the other nodes know where it is (forwarding entry and
// neighbour, by rtnetlink's own notifications) and send connections to its service's virtual address to it (the rules in the
// containers, by nftables' notifications, of SAMPLE containers of each node). Real containers. Beside it the same at
// a few endpoints. Negative: before it runs, for the entries come with the task's node, not with its start. Usage, as root: node bench/change.ts [endpoints = 1000] [changes = 10]

import { NamespaceEvents } from "#net/kernel/namespace-events.ts";
import { createNetns, deleteNetns } from "#net/kernel/netns.ts";
import { overlayNs } from "#net/model/ifname.ts";
import type { Task } from "#proto/gen/types.ts";
import type { TestCluster } from "#test-cluster/netns/cluster.ts";
import { sleep } from "#test-cluster/netns/system.ts";
import { type Control, cpuSeconds, withCluster } from "./measure/cluster.ts";
import { tell } from "./measure/figures.ts";
import { createOverlay, isRunning, sleepers, type TaskWatch, watchTasks } from "./measure/tasks.ts";

const ENDPOINTS = Number(process.argv[2] ?? 1_000);
const CHANGES = Number(process.argv[3] ?? 10);
const FEW = 20;
const SERVICES = 20;
const NODES = 3;
const SAMPLE = 8;
const LOOK_MS = 1;
const LIMIT_MS = 60_000;
/** New backends wait at most a second after the apply before: then each change is alone. */
const SETTLE_MS = 2_000;
/** Of agents that do something now and then. */
const IDLE_MS = 20_000;
/** CPU seconds per millisecond: half a core. */
const BUSY = 0.5 / 1_000;

type Bench = {
  readonly cluster: TestCluster;
  readonly control: Control;
  readonly watch: TaskWatch;
  readonly network: string;
};
type Seen = { readonly ns: string; readonly what: string };

/** Milliseconds of performance.now(), by "namespace what", since the last `clear`. */
const notices = (path: string) => {
  const seen = new Map<string, number>();
  const note = ({ ns, what }: Seen): void => {
    const key = `${ns} ${what}`;
    if (!seen.has(key)) seen.set(key, performance.now());
  };
  const events = new NamespaceEvents(path, (ns, event) => {
    if (event.topic === "fdb" && !event.gone && event.entry.destination !== undefined)
      note({ ns, what: event.entry.mac });
    if (event.topic === "neigh" && !event.gone) note({ ns, what: event.neighbour.address });
    if (event.topic === "nft") note({ ns, what: "rules" });
  });
  const timer = setInterval(() => events.drain(), LOOK_MS);
  return {
    add: (ns: string, file: string) => events.add(ns, file),
    clear: () => seen.clear(),
    /** When the last of them was seen. */
    all: async (wanted: readonly Seen[]): Promise<number> => {
      const keys = wanted.map(({ ns, what }) => `${ns} ${what}`);
      for (const began = performance.now(); !keys.every((key) => seen.has(key)); await sleep(LOOK_MS)) {
        const missing = keys.filter((key) => !seen.has(key));
        if (performance.now() - began > LIMIT_MS) throw new Error(`not seen in ${LIMIT_MS} ms: ${missing.join(", ")}`);
      }
      return Math.max(...keys.map((key) => seen.get(key)!));
    },
    close: () => {
      clearInterval(timer);
      events.close();
    },
  };
};

/** CPU seconds per millisecond. */
const usage = async (cluster: TestCluster, ms: number): Promise<number> => {
  const from = cpuSeconds(cluster);
  await sleep(ms);
  return (cpuSeconds(cluster) - from) / ms;
};

/** When the nodes have nothing left to do. */
const settled = async (cluster: TestCluster): Promise<void> => {
  for (let before = Number.POSITIVE_INFINITY; ; ) {
    const used = await usage(cluster, SETTLE_MS);
    if (used < BUSY && used > 0.8 * before) return;
    before = used;
  }
};

const nameOf = (n: number): string => `bench${n}`;

/** Updates a service to `replicas`; resolves to how to wait: milliseconds at which all run. */
const scale = async ({ control, watch }: Bench, n: number, replicas: number): Promise<() => Promise<number>> => {
  const { service } = await control.getService({ ref: nameOf(n) });
  const { meta, spec, id } = service!;
  await control.updateService({ id, version: meta!.version, spec: { ...spec!, replicas }, rollback: false });
  return () => watch.until(`${replicas} running`, (tasks) => tasks.filter(isRunning).length === replicas, id);
};

const scaleAll = async (bench: Bench, replicas: number): Promise<void> => {
  const waits: (() => Promise<number>)[] = [];
  for (let n = 0; n < SERVICES; n++) waits.push(await scale(bench, n, replicas));
  for (const wait of waits) await wait();
};

const tasksOf = async ({ control }: Bench): Promise<Task[]> => (await control.listTasks({ filters: [] })).tasks;

/** One change after the other: the n-th service gets one task more. */
const changes = async (bench: Bench, each: number): Promise<void> => {
  const { cluster, control, network } = bench;
  const path = `/run/netns/tsbench-${process.pid}`;
  createNetns(path);
  const look = notices(path);
  const figures = {
    asked: [] as number[],
    known: [] as number[],
    entry: [] as number[],
    rules: [] as number[],
    cpu: [] as number[],
  };
  try {
    const { nodes } = await control.listNodes({ filters: [] });
    const hostOf = new Map(nodes.map(({ node }) => [node!.id, node!.description!.hostname]));
    const before = await tasksOf(bench);
    const vni = (await control.getNetwork({ ref: network })).view!.network!.vni;
    const sampled = new Map<string, string[]>();
    for (const [id, name] of hostOf) {
      const run = `/proc/${cluster.agentPid(name)}/root${cluster.node(name).dir}/run/netns`;
      look.add(id, `${run}/${overlayNs(vni)}`);
      const here = before.filter((t) => t.nodeId === id);
      const some = here.filter((_, i) => i % Math.ceil(here.length / SAMPLE) === 0);
      for (const task of some) look.add(task.id, `/proc/${task.status!.pid}/ns/net`);
      sampled.set(
        id,
        some.map((t) => t.id),
      );
    }
    const known = new Set(before.map((t) => t.id));
    await settled(cluster);
    const idlePerMs = await usage(cluster, IDLE_MS);
    for (let n = 0; n < CHANGES; n++) {
      look.clear();
      const cpu = cpuSeconds(cluster);
      const asked = performance.now();
      const wait = await scale(bench, n % SERVICES, each + 1 + Math.floor(n / SERVICES));
      const running = await wait();
      const task = (await tasksOf(bench)).find((t) => !known.has(t.id))!;
      known.add(task.id);
      const { mac, ipv4 } = task.attachments[0]!;
      const others = [...hostOf.keys()].filter((id) => id !== task.nodeId);
      const entries = others.flatMap((ns) => [mac, ipv4.split("/")[0]!].map((what) => ({ ns, what })));
      figures.asked.push(running - asked);
      const entered = await look.all(entries);
      figures.known.push(entered - asked);
      figures.entry.push(entered - running);
      const rules = others.flatMap((id) => sampled.get(id)!.map((ns) => ({ ns, what: "rules" })));
      figures.rules.push((await look.all(rules)) - running);
      await settled(cluster);
      figures.cpu.push(1000 * (cpuSeconds(cluster) - cpu - idlePerMs * (performance.now() - asked)));
    }
  } finally {
    look.close();
    deleteNetns(path);
  }
  const p99 = (values: readonly number[]) => [...values].sort((a, b) => a - b)[Math.ceil(values.length * 0.99) - 1]!;
  tell("asked → it runs", figures.asked, "ms", 1);
  tell("asked → entries on the other nodes", figures.known, "ms", 1);
  tell("it runs → entries on the other nodes", figures.entry, "ms", 1);
  tell("it runs → rules in the others' containers", figures.rules, "ms", 1);
  tell("CPU of all nodes for the change", figures.cpu, "ms", 0);
  console.log(
    `  99th percentile: entries ${p99(figures.entry).toFixed(1)} ms, rules ${p99(figures.rules).toFixed(1)} ms`,
  );
};

await withCluster(NODES, async (cluster, control) => {
  const watch = await watchTasks(control);
  const bench: Bench = { cluster, control, watch, network: await createOverlay(control, "bench") };
  try {
    for (let n = 0; n < SERVICES; n++)
      await control.createService({ spec: sleepers(nameOf(n), bench.network, FEW / SERVICES) });
    await scaleAll(bench, FEW / SERVICES);
    console.log(`== ${FEW} endpoints, ${SERVICES} services`);
    await changes(bench, FEW / SERVICES);
    const each = Math.ceil(ENDPOINTS / SERVICES);
    const at = performance.now();
    await scaleAll(bench, each);
    console.log(
      `== ${each * SERVICES} endpoints, ${SERVICES} services (${((performance.now() - at) / 1000).toFixed(0)} s to start)`,
    );
    await changes(bench, each);
  } finally {
    watch.close();
  }
});
