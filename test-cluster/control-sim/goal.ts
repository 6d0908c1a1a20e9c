// Once faults have ended: is everything as it is wanted, everywhere? Each reason why not is a line.
import { allocate } from "#control-plane/allocator/allocate.ts";
import { nodeView } from "#control-plane/node-view/node-view.ts";
import { orchestrate } from "#control-plane/orchestrator/orchestrate.ts";
import { hasEnded, isRunning } from "#control-plane/orchestrator/task-life.ts";
import { schedule } from "#control-plane/scheduler/schedule.ts";
import { hashState } from "#control-plane/state/hash.ts";
import { createState } from "#control-plane/state/state.ts";
import type { State } from "#control-plane/state/types.ts";
import { Assignment } from "#proto/gen/dispatcher.ts";
import { NodeRole, NodeState, RestartCondition, type Service, type Task, UpdateState } from "#proto/gen/types.ts";
import type { SimHost } from "#test-cluster/control-sim/host.ts";
import type { SimManager } from "#test-cluster/control-sim/manager.ts";
import { EPOCH } from "#test-cluster/control-sim/world.ts";

export type GoalInput = {
  readonly state: State;
  readonly hosts: readonly SimHost[];
  readonly managers: readonly SimManager[];
  readonly nowMs: number;
};

const MOVING: readonly number[] = [UpdateState.UPDATE_UPDATING, UpdateState.UPDATE_ROLLBACK_STARTED];

const bare = (address: string): string => address.split("/")[0]!;
const addressesOf = (task: Task): string[] =>
  task.attachments.flatMap(({ networkId, ipv4, ipv6 }) =>
    [ipv4, ipv6].filter((a) => a !== "").map((a) => `${networkId} ${bare(a)}`),
  );

function* services(state: State): Generator<string> {
  for (const service of state.all("service")) {
    const name = service.spec?.annotations?.name ?? service.id;
    if (service.pendingDelete) yield `service ${name} is still being removed`;
    const tasks = state.tasksOfService(service.id);
    const running = tasks.filter(isRunning);
    const wanted = service.spec?.replicas ?? 0;
    const mayEnd =
      tasks.some((t) => t.spec?.restart?.condition !== RestartCondition.RESTART_ANY) || endsByItself(service);
    if (mayEnd ? running.length > wanted : running.length !== wanted)
      yield `service ${name} has ${running.length} of ${wanted} tasks running`;
    if (new Set(running.map((task) => task.slot)).size !== running.length) yield `service ${name} runs twice in a slot`;
    for (const task of tasks)
      if (!hasEnded(task) && !isRunning(task))
        yield `task ${task.id} (${task.name}) is ${task.status?.state}, wanted ${task.desiredState}: ${task.status?.error}`;
    if (MOVING.includes(service.updateStatus?.state ?? 0) && !mayEnd) yield `service ${name} is still being updated`;
  }
}

const endsByItself = ({ spec }: Service): boolean => spec?.task?.restart?.condition !== RestartCondition.RESTART_ANY;

function* nodesAndHosts(state: State, hosts: readonly SimHost[]): Generator<string> {
  const nodes = new Map(hosts.map((host) => [host.nodeId, host]));
  for (const node of state.all("node")) {
    if (node.status?.state !== NodeState.NODE_READY) yield `node ${node.id} is not ready`;
    if (!nodes.has(node.id)) yield `node ${node.id} has no host`;
  }
  for (const host of hosts) {
    if (state.get("node", host.nodeId) === undefined) {
      yield `${host.name} is no node`;
      continue;
    }
    const tasks = state.tasksOfNode(host.nodeId).filter((task) => !hasEnded(task));
    const wanted = tasks.map(({ id }) => id).sort();
    const runs = [...host.containers.values()].filter((c) => c.state === "running").map(({ id }) => id);
    if (runs.sort().join() !== wanted.join()) yield `${host.name} runs ${runs}; wanted ${wanted}`;
    const has = [...host.wired.values()].flatMap(addressesOf).sort();
    const shall = tasks.flatMap(addressesOf).sort();
    if (has.join() !== shall.join()) yield `${host.name} has the addresses ${has}; wanted ${shall}`;
    const view = host.life?.kept.current();
    const current = nodeView(state, host.nodeId);
    const encode = (item: Assignment | undefined): string =>
      item === undefined ? "" : Buffer.from(Assignment.encode(item).finish()).toString("latin1");
    for (const [key, item] of current)
      if (encode(view?.items.get(key)) !== encode(item)) yield `the view of ${host.name} lacks ${key}`;
    for (const key of view?.items.keys() ?? [])
      if (!current.has(key)) yield `the view of ${host.name} still has ${key}`;
  }
}

function* addresses(state: State): Generator<string> {
  if (state.count("lease") > 0) yield `${state.count("lease")} addresses still rest`;
  for (const network of state.all("network")) {
    const holders = new Set<string>();
    for (const { gateway, reserved } of network.subnets)
      for (const a of [gateway, ...Object.values(reserved)]) if (a !== "") holders.add(bare(a));
    for (const { ipv4, ipv6 } of network.nodes) for (const a of [ipv4, ipv6]) if (a !== "") holders.add(a);
    for (const service of state.all("service"))
      for (const { networkId, ipv4, ipv6 } of service.vips)
        if (networkId === network.id) for (const a of [ipv4, ipv6]) if (a !== "") holders.add(a);
    for (const task of state.all("task"))
      if (!hasEnded(task))
        for (const a of addressesOf(task)) if (a.startsWith(`${network.id} `)) holders.add(a.split(" ")[1]!);
    const held = [...state.heldAddresses(network.id)].sort();
    if (held.join() !== [...holders].sort().join())
      yield `network ${network.spec?.annotations?.name}: ${held} are held, by the objects ${[...holders].sort()}`;
  }
}

function* managersAgree(state: State, managers: readonly SimManager[]): Generator<string> {
  const hash = hashState(state);
  for (const manager of managers)
    if (!manager.removed && (!manager.alive || hashState(manager.life!.replicated.state) !== hash))
      yield `${manager.host} has another state`;
  const again = createState();
  again.restore(state.index, [...state.snapshot()]);
  if (hashState(again) !== hash) yield "a snapshot is another state";
}

function* quorum(state: State, managers: readonly SimManager[]): Generator<string> {
  const leader = managers.find((manager) => manager.leading);
  if (leader === undefined) return yield "nobody leads";
  const wanted = [...state.all("node")].filter(({ spec }) => spec?.role === NodeRole.MANAGER).map(({ id }) => id);
  const members = leader.life!.log!.status().members;
  const voters = members.filter(({ voter }) => voter).map(({ nodeId }) => nodeId);
  if (voters.sort().join() !== wanted.sort().join() || voters.length !== members.length)
    yield `the voters are ${voters} of ${members.length} members, wanted ${wanted}`;
  const alive = managers.filter((manager) => manager.alive).map(({ nodeId }) => nodeId);
  if (alive.sort().join() !== wanted.join()) yield `the managers are ${alive}, wanted ${wanted}`;
}

/** A pass over everything finds nothing that the leader's own passes, over what changed, have missed. */
function* nothingLeft(state: State, nowMs: number): Generator<string> {
  const tx = state.begin();
  let made = 0;
  const ctx = { now: EPOCH + Math.round(nowMs), newId: () => `made${made++}` };
  orchestrate(tx, ctx, "all");
  allocate(tx, ctx);
  schedule(tx, ctx, { tasks: [...tx.all("task")].map(({ id }) => id) });
  for (const { table, id } of tx.changes()) yield `a pass over everything changes ${table}/${id}`;
}

/** Cheap ones first: the rest is asked for only when these are met. */
export const goalMissed = ({ state, hosts, managers, nowMs }: GoalInput): string[] => {
  const near = [...services(state), ...nodesAndHosts(state, hosts), ...addresses(state)];
  if (near.length > 0) return near;
  return [...quorum(state, managers), ...managersAgree(state, managers), ...nothingLeft(state, nowMs)];
};
