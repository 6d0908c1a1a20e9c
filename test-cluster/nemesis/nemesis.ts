// Real managers and agents, hurt at random while clients write a history: what they were told must have an order, no
// acknowledged write is lost, watch streams are whole, every call is answered, and after the faults the cluster works.
import { TswarmError } from "#base/errors.ts";
import { seededRandom } from "#base/random.ts";
import { ControlDefinition, type NodeView } from "#proto/gen/control.ts";
import { NodeRole, NodeState } from "#proto/gen/types.ts";
import { createClient, openChannel, type RpcClient } from "#proto/rpc/client.ts";
import { checkLinearizable } from "#test-cluster/linearizability/check.ts";
import type { Model, Operation } from "#test-cluster/linearizability/model.ts";
import { appendModel, compareAndSetModel } from "#test-cluster/linearizability/models.ts";
import { changeRole, heal, inflict, smallDisk } from "#test-cluster/nemesis/inflict.ts";
import { describeFault, drawPlan, type Fault } from "#test-cluster/nemesis/plan.ts";
import { startWatchers } from "#test-cluster/nemesis/watchers.ts";
import { type Call, startWorkload, type Workload } from "#test-cluster/nemesis/workload.ts";
import { createCluster, type TestCluster } from "#test-cluster/netns/cluster.ts";
import { formCluster } from "#test-cluster/netns/form.ts";
import { sleep } from "#test-cluster/netns/system.ts";

/** A manager looks for a leader for 5 s and notices a lost connection within 2 s more; the rest is for a busy machine. */
const ANSWER_MS = 15_000;
const RECOVER_MS = 60_000;
const CLIENTS = 12;

export type Options = {
  readonly seed: number;
  readonly seconds: number;
  readonly say: (line: string) => void;
};

export type Report = {
  /** Nothing of this may be. */
  readonly problems: readonly string[];
  readonly writes: number;
  readonly reads: number;
  readonly unknown: number;
  readonly faults: number;
};

/** Hosts with small disks, all of them managers. */
export const nemesisCluster = async (name: string, number: number, nodes: number): Promise<TestCluster> => {
  const cluster = await createCluster({ name, number, nodes });
  try {
    for (const node of cluster.layout.nodes) smallDisk(cluster, node.name);
    await formCluster(cluster, nodes);
  } catch (error) {
    await cluster.down();
    throw error;
  }
  return cluster;
};

type Pause = { readonly node: string; readonly from: number; readonly to: number };

const withControl = async <T>(
  cluster: TestCluster,
  name: string,
  ask: (control: RpcClient<ControlDefinition>) => Promise<T>,
): Promise<T> => {
  const channel = openChannel(`unix:${cluster.node(name).socket}`);
  try {
    return await ask(createClient(ControlDefinition, channel));
  } finally {
    channel.close();
  }
};

const nodesAsSeenBy = (cluster: TestCluster, name: string, deadlineMs: number): Promise<NodeView[]> =>
  withControl(cluster, name, async (c) => (await c.listNodes({ filters: [] }, { deadlineMs })).nodes);

const nameOf = (view: NodeView): string => view.node?.description?.hostname ?? "";

/** Name of who leads, as the first node says that answers; undefined when none does. */
const leaderOf = (cluster: TestCluster): Promise<string | undefined> =>
  Promise.any(
    cluster.layout.nodes.map(async ({ name }) => {
      const leader = (await nodesAsSeenBy(cluster, name, 2_000)).find((view) => view.leader);
      if (leader === undefined) throw new Error("nobody leads");
      return nameOf(leader);
    }),
  ).catch(() => undefined);

const reasonOf = (error: unknown): string =>
  (String((error as { stderr?: unknown }).stderr ?? "") || (error as Error).message).trim().split("\n").at(-1)!;

/** Until `attempt` does not throw; throws its last error after `limitMs`. */
const insist = async <T>(what: string, limitMs: number, attempt: () => Promise<T>): Promise<T> => {
  for (const deadline = Date.now() + limitMs; ; await sleep(200)) {
    try {
      return await attempt();
    } catch (error) {
      if (Date.now() > deadline) throw new Error(`not within ${limitMs} ms: ${what}: ${reasonOf(error)}`);
    }
  }
};

/** All processes run, all nodes are ready managers who reach each other, and each lets a client write. */
const recover = async (cluster: TestCluster): Promise<void> => {
  const names = cluster.layout.nodes.map((node) => node.name);
  await Promise.all(names.map((name) => insist(`${name} runs`, RECOVER_MS, () => heal(cluster, name))));
  let asked = 0;
  await insist("all are ready managers", RECOVER_MS, async () => {
    const name = names[asked++ % names.length]!;
    const views = await nodesAsSeenBy(cluster, name, 5_000);
    for (const view of views.filter((v) => v.node?.spec?.role === NodeRole.WORKER))
      await changeRole(cluster, nameOf(view), "promote");
    const bad = views.filter((v) => v.reachability !== "reachable" || v.node?.status?.state !== NodeState.NODE_READY);
    if (bad.length > 0) throw new Error(bad.map((v) => `${nameOf(v)} is ${v.reachability || "no manager"}`).join());
  });
  for (const name of names)
    await insist(`${name} writes`, RECOVER_MS, () =>
      withControl(cluster, name, async (c) => {
        const { node } = (await c.listNodes({ filters: [] }, { deadlineMs: 5_000 })).nodes[0]!;
        const request = { id: node!.id, version: node!.meta!.version, spec: node!.spec };
        await c.updateNode(request, { deadlineMs: 5_000 });
      }),
    );
};

const runFault = async (
  cluster: TestCluster,
  fault: Fault,
  pauses: Pause[],
  log: (line: string) => void,
): Promise<void> => {
  const { nodes } = cluster.layout;
  const leader = fault.node === "leader" ? await leaderOf(cluster) : undefined;
  const index =
    fault.node === "leader"
      ? Math.max(
          0,
          nodes.findIndex((n) => n.name === leader),
        )
      : fault.node;
  const name = nodes[index]!.name;
  const other = nodes[(index + fault.other) % nodes.length]!.name;
  log(describeFault(fault, name));
  const from = performance.now();
  try {
    const undo = await inflict({ cluster, name, other }, fault);
    await sleep(fault.lastsMs);
    await undo();
  } catch (error) {
    log(`  ${fault.kind} ${name}: ${reasonOf(error)}`);
  }
  if (fault.kind.startsWith("pause") || fault.kind === "kill-node")
    pauses.push({ node: name, from, to: performance.now() });
};

/** Calls that nobody answered in time, the time left out in which the asked node itself could not. */
const forgotten = (calls: readonly Call[], pauses: readonly Pause[]): string[] =>
  calls
    .filter((call) => {
      const excused = pauses
        .filter((p) => p.node === call.node)
        .reduce((sum, p) => sum + Math.max(0, Math.min(p.to, call.to) - Math.max(p.from, call.from)), 0);
      return call.to - call.from - excused > ANSWER_MS;
    })
    .map((c) => `${c.node} needed ${Math.round(c.to - c.from)} ms for a ${c.what}: ${c.outcome} ${c.message}`);

const checked = <I, O>(model: Model<I, O>, history: readonly Operation<I, O>[]): string[] => {
  const verdict = checkLinearizable(model, history);
  return verdict.kind === "ok" ? [] : [`${verdict.kind}: ${verdict.report}`];
};

const figures = ({ calls, written }: Workload, pauses: number, since: number): string[] => {
  const counts = Object.entries(Object.groupBy(calls, (c) => `${c.what} ${c.outcome}`));
  const moments = [since, ...written.map((w) => w.at).sort((a, b) => a - b)];
  const gaps = moments.slice(1).map((at, i) => ({ from: moments[i]! - since, ms: at - moments[i]! }));
  const longest = gaps.sort((a, b) => b.ms - a.ms).slice(0, 3);
  const [worst] = longest;
  const meanwhile = calls.filter((c) => worst && c.to > since + worst.from && c.to < since + worst.from + worst.ms);
  const answers = Object.entries(Object.groupBy(meanwhile, (c) => `${c.what} on ${c.node}: ${c.outcome} ${c.message}`))
    .sort(([, a], [, b]) => b!.length - a!.length)
    .slice(0, 8);
  const told = longest.map(({ from, ms }) => `${Math.round(ms)} ms (at ${(from / 1000).toFixed(1)} s)`);
  const slow = calls.map((c) => c.to - c.from).sort((a, b) => a - b);
  const quantile = (q: number) => Math.round(slow[Math.floor(slow.length * q)] ?? 0);
  return [
    counts
      .map(([what, list]) => `${list!.length} × ${what}`)
      .sort()
      .join(", "),
    `calls: p50 ${quantile(0.5)} ms, p99 ${quantile(0.99)} ms, longest ${quantile(1 - 1e-9)} ms; longest times without a write: ${told.join(", ")}; ${pauses} pauses`,
    ...answers.map(([what, list]) => `  in the longest of them ${list!.length} × ${what}`),
  ];
};

export const runNemesis = async (cluster: TestCluster, { seed, seconds, say }: Options): Promise<Report> => {
  const plan = drawPlan(seed, cluster.layout.nodes.length, seconds);
  const began = performance.now();
  const log = (line: string) => say(`${((performance.now() - began) / 1000).toFixed(1).padStart(6)} s  ${line}`);
  const workload = startWorkload(cluster, CLIENTS, seededRandom(seed + 1));
  const watchers = startWatchers(cluster);
  const pauses: Pause[] = [];
  const problems: string[] = [];
  let faults = 0;
  const lane = async (list: readonly Fault[]): Promise<void> => {
    for (const fault of list) {
      await sleep(fault.restsMs);
      if (performance.now() - began > seconds * 1000) return;
      faults++;
      await runFault(cluster, fault, pauses, log);
    }
  };
  try {
    await Promise.all(plan.lanes.map(lane));
    const ended = performance.now();
    await recover(cluster);
    log(`all is well ${Math.round(performance.now() - ended)} ms after the last fault`);
  } catch (error) {
    problems.push(TswarmError.from(error).message);
  }
  await workload.stop().catch((error) => problems.push(`the final reads: ${reasonOf(error)}`));
  await watchers.stop();
  problems.push(...checked(compareAndSetModel, workload.registers), ...checked(appendModel, workload.lists));
  problems.push(...watchers.wrong, ...watchers.missed(workload.written), ...forgotten(workload.calls, pauses));
  for (const line of figures(workload, pauses.length, began)) log(line);
  const unknown = [...workload.registers, ...workload.lists].filter((o) => o.outcome.kind === "unknown").length;
  const reads = workload.calls.filter((c) => c.what === "read" && c.outcome === "ok").length;
  log(
    `${faults} faults, ${workload.written.length} writes, ${unknown} of unknown outcome, ${reads} reads, ${watchers.streams.length} watch streams`,
  );
  return { problems, writes: workload.written.length, reads, unknown, faults };
};
