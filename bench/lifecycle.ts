// Seconds of a cluster's life: an agent's start until it answers, init, joins and leaves as a user types them, an overlay's
// creation and removal, and from the moment at which a host is cut off, at the default heartbeat, to its node's end and to
// all replicas running elsewhere. Usage, as root: node bench/lifecycle.ts [runs = 5] [host losses of each kind = 2]

import { ControlDefinition } from "#proto/gen/control.ts";
import { NodeLocalDefinition } from "#proto/gen/node.ts";
import { NetworkSpec, NodeState, TaskState } from "#proto/gen/types.ts";
import { createClient, openChannel } from "#proto/rpc/client.ts";
import { type TestCluster, tsctl } from "#test-cluster/netns/cluster.ts";
import { formCluster } from "#test-cluster/netns/form.ts";
import { isAlive, sleep } from "#test-cluster/netns/system.ts";
import { type Control, loadBenchImages, withHosts } from "./measure/cluster.ts";
import { tell } from "./measure/figures.ts";
import { createOverlay, sleepers } from "./measure/tasks.ts";

const MANAGERS = ["node1", "node2", "node3"] as const;
const WORKER = "node4";
const NODES = 4;
const REPLICAS = 12;
const POLL_MS = 25;
const LIMIT_MS = 120_000;
/** Of the peer's range of 17–20 s. */
const SWARM_LOSS = 18.5;

const seconds = async (work: () => unknown): Promise<number> => {
  const at = performance.now();
  await work();
  return (performance.now() - at) / 1000;
};

/** Asks again and again; a question that nobody answers (no leader, say) is asked once more. */
const until = async (what: string, holds: () => Promise<boolean>): Promise<number> => {
  for (const began = performance.now(); performance.now() - began < LIMIT_MS; await sleep(POLL_MS))
    if (await holds().catch(() => false)) return performance.now();
  throw new Error(`not within ${LIMIT_MS} ms: ${what}`);
};

const withControl = async <T>(hosts: TestCluster, name: string, work: (control: Control) => Promise<T>): Promise<T> => {
  const channel = openChannel(`unix:${hosts.node(name).socket}`);
  try {
    return await work(createClient(ControlDefinition, channel));
  } finally {
    channel.close();
  }
};

const stopAgent = async (hosts: TestCluster, name: string): Promise<void> => {
  const pid = hosts.agentPid(name);
  process.kill(pid, "SIGTERM");
  await until("the agent ends", async () => !isAlive(pid));
};

const answers = async (hosts: TestCluster, name: string): Promise<void> => {
  const channel = openChannel(`unix:${hosts.node(name).socket}`);
  await createClient(NodeLocalDefinition, channel)
    .info({})
    .finally(() => channel.close());
};

const starts = async (hosts: TestCluster, runs: number): Promise<void> => {
  const took: number[] = [];
  for (let run = 0; run < runs; run++) {
    took.push(await seconds(() => hosts.startAgent("node1").then(() => answers(hosts, "node1"))));
    await stopAgent(hosts, "node1");
  }
  tell("agent start → answers", took, "s", 2, 0.83);
};

const nodesAre = async (control: Control, state: NodeState, ids: number): Promise<boolean> =>
  (await control.listNodes({ filters: [] }, { deadlineMs: 1_000 })).nodes.filter((n) => n.node?.status?.state === state)
    .length === ids;

const joins = async (hosts: TestCluster, runs: number): Promise<void> => {
  const init: number[] = [];
  const join = { manager: [] as number[], worker: [] as number[] };
  const ready: number[] = [];
  const leave: number[] = [];
  const at = (name: string, ...args: string[]) => tsctl(hosts.node(name), "cluster", ...args);
  const enter = (name: string, role: "manager" | "worker"): Promise<number> => {
    const token = at("node1", "join-token", "--quiet", role).trim();
    const { ipv4 } = hosts.node(name);
    const first = `${hosts.node("node1").ipv4}:2377`;
    return seconds(() => at(name, "join", "--advertise-addr", ipv4, "--token", token, first));
  };
  for (let run = 0; run < runs; run++) {
    init.push(await seconds(() => at("node1", "init", "--advertise-addr", hosts.node("node1").ipv4)));
    join.manager.push(await enter("node2", "manager"));
    join.worker.push(await enter(WORKER, "worker"));
    ready.push(
      await seconds(() =>
        withControl(hosts, "node1", (c) => until("all ready", () => nodesAre(c, NodeState.NODE_READY, 3))),
      ),
    );
    leave.push(await seconds(() => at("node2", "leave", "--force")));
    at(WORKER, "leave");
    at("node1", "leave", "--force");
  }
  tell("cluster init", init, "s", 2, 0.16);
  tell("cluster join, manager", join.manager, "s", 2, 0.62);
  tell("cluster join, worker", join.worker, "s", 2, 0.62);
  tell("  joined → all ready", ready, "s");
  tell("cluster leave --force, manager of two", leave, "s");
};

const networks = async (control: Control, runs: number): Promise<void> => {
  const created: number[] = [];
  const removed: number[] = [];
  for (let run = 0; run < 4 * runs; run++) {
    const spec = NetworkSpec.fromPartial({ annotations: { name: `n${run}` }, driver: "overlay", ipv4: true });
    created.push(1000 * (await seconds(() => control.createNetwork({ spec }))));
    removed.push(1000 * (await seconds(() => control.removeNetwork({ ref: `n${run}` }))));
  }
  tell("network create, overlay", created, "ms", 1, 8);
  tell("network rm, overlay", removed, "ms", 1, 7);
};

type Loss = { readonly down: number; readonly replaced: number };

/** Cuts a host off while a service runs on all of them. Asks a manager that stays. */
const lose = async (hosts: TestCluster, victim: string, run: string): Promise<Loss> => {
  const asked = MANAGERS.find((name) => name !== victim)!;
  return withControl(hosts, asked, async (control) => {
    const network = await createOverlay(control, run);
    const { service } = await control.createService({ spec: sleepers(run, network, REPLICAS) });
    const { nodes } = await control.listNodes({ filters: [] });
    const { id } = nodes.find(({ node }) => node?.description?.hostname === victim)!.node!;
    const running = async (without: string): Promise<boolean> => {
      const { tasks } = await control.listTasks({ filters: [] }, { deadlineMs: 1_000 });
      const mine = tasks.filter((t) => t.serviceId === service!.id && t.nodeId !== without);
      return mine.filter((t) => t.status?.state === TaskState.TASK_RUNNING).length === REPLICAS;
    };
    await until("the service runs", () => running(""));
    // Anywhere within a heartbeat.
    await sleep(5_000 * (1 + Math.random()));
    const cut = performance.now();
    hosts.setLink(victim, false);
    try {
      const down = await until("the node is down", async () => {
        const { node } = await control.getNode({ ref: id }, { deadlineMs: 1_000 });
        return node!.node?.status?.state === NodeState.NODE_DOWN;
      });
      const replaced = await until("all replicas run elsewhere", () => running(id));
      return { down: (down - cut) / 1000, replaced: (replaced - cut) / 1000 };
    } finally {
      hosts.setLink(victim, true);
      await until("the node is back", () => nodesAre(control, NodeState.NODE_READY, NODES));
      await control.removeService({ ref: service!.id });
      await until("the service is gone", async () =>
        (await control.listTasks({ filters: [] })).tasks.every((t) => t.serviceId !== service!.id),
      );
      await control.removeNetwork({ ref: network });
    }
  });
};

const leaderOf = async (hosts: TestCluster): Promise<string> =>
  withControl(hosts, MANAGERS[0], async (control) => {
    const { view } = await control.getCluster({});
    const { addr } = view!.members.find((m) => m.leader)!;
    return hosts.layout.nodes.find((n) => addr.startsWith(`${n.ipv4}:`))!.name;
  });

const losses = async (hosts: TestCluster, runs: number): Promise<void> => {
  for (const [what, victim] of [
    ["worker", async () => WORKER],
    ["leader", () => leaderOf(hosts)],
  ] as const) {
    const all: Loss[] = [];
    for (let run = 0; run < runs; run++) all.push(await lose(hosts, await victim(), `${what}${run}`));
    const figures = (of: (loss: Loss) => number) => all.map(of);
    tell(
      `${what}'s host cut → all replicas elsewhere`,
      figures((l) => l.replaced),
      "s",
      1,
      SWARM_LOSS,
    );
    tell(
      "  node down",
      figures((l) => l.down),
      "s",
      1,
    );
  }
};

const runs = Number(process.argv[2] ?? 5);
const lost = Number(process.argv[3] ?? 2);
await withHosts(NODES, async (hosts) => {
  await starts(hosts, runs);
  for (const name of ["node1", "node2", WORKER]) await hosts.startAgent(name);
  await joins(hosts, runs);
  for (const name of ["node1", "node2", WORKER]) await stopAgent(hosts, name);
  await formCluster(hosts, MANAGERS.length);
  await loadBenchImages(hosts);
  await withControl(hosts, "node1", (control) => networks(control, runs));
  if (lost > 0) await losses(hosts, lost);
});
