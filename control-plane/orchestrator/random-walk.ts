// For tests: users, nodes, agents and time do random things to a fake cluster; the leader runs in between, with what is
// dirty only, as it does in production.
import type { StateBatch } from "#control-plane/state/types.ts";
import {
  FailureAction,
  NetworkAttachment,
  NodeAvailability,
  NodeState,
  PortConfig,
  PortMode,
  RestartCondition,
  Task,
  TaskState,
  UpdateOrder,
} from "#proto/gen/types.ts";
import { createFakeCluster, type FakeCluster, makeNetwork, makeNode, makeSpec, setSpec } from "./fake-cluster.ts";
import { hasEnded, isRunning, isWanted } from "./task-life.ts";

export const WALK_NODES = 4;
const SERVICES = ["web", "db"];
export const WALK_NETWORKS = ["net1", "net2"];

const FAILURE_ACTIONS = [FailureAction.FAILURE_PAUSE, FailureAction.FAILURE_CONTINUE, FailureAction.FAILURE_ROLLBACK];

export type Walk = {
  readonly cluster: FakeCluster;
  /** One random action of somebody. */
  act(): void;
  /** One pass of the leader over what became dirty since the last one. */
  lead(): void;
  /** No more accidents: all nodes up, no task fails; leader and agents go on until nothing moves, also not by time. */
  calm(): void;
};

export const createWalk = (
  seed: number,
  onBatch: (batch: StateBatch, cluster: FakeCluster) => void = () => {},
): Walk => {
  const services = new Set<string>();
  const nodes = new Set<string>();
  let clusterOf: FakeCluster | undefined;
  const cluster = createFakeCluster(seed, WALK_NODES, (batch) => {
    for (const event of batch.events) {
      if (event.table === "service") services.add(event.object.id);
      if (event.table === "node") nodes.add(event.object.id);
      if (event.table === "task") services.add(event.object.serviceId);
    }
    if (clusterOf !== undefined) onBatch(batch, clusterOf);
  });
  clusterOf = cluster;
  const { random, state } = cluster;
  const pick = <T>(list: readonly T[]): T => list[random.int(list.length)] as T;
  let failing = 0;
  let wakeAt: number | undefined;
  cluster.fate = () => (random.float() < failing ? pick(["fail", "complete", "reject"] as const) : "run");
  cluster.commit((tx) => {
    for (const id of WALK_NETWORKS) tx.put("network", makeNetwork(id));
  });

  /** The first of them is at times that of published ports. */
  const changeIngress = (): void => {
    const id = WALK_NETWORKS[0]!;
    const { spec, ...network } = makeNetwork(id);
    const ingress = !state.get("network", id)?.spec?.ingress;
    cluster.commit((tx) => tx.delete("network", id));
    cluster.commit((tx) => tx.put("network", { ...network, spec: { ...spec!, ingress } }));
  };

  const deploy = (): void => {
    const id = pick(SERVICES);
    if (state.get("service", id)?.pendingDelete) return;
    const networks = WALK_NETWORKS.filter(() => random.int(2) === 0).map((target) => ({ target }));
    const order = id === "web" ? UpdateOrder.STOP_FIRST : UpdateOrder.START_FIRST;
    const update = { parallelism: random.int(3), order, monitorMs: 1000, failureAction: pick(FAILURE_ACTIONS) };
    const restart = { condition: RestartCondition.RESTART_ANY, delayMs: random.int(2) * 500 };
    const container = { image: "localhost/web:1", env: { v: String(random.int(3)) } };
    const spec = makeSpec(id, random.int(7), { networks, restart, container }, { update, rollback: update });
    cluster.commit((tx) => {
      setSpec(tx, id, spec);
      const published = [...id].reduce((sum, c) => sum + c.charCodeAt(0), 8000 + random.int(2));
      const ports = random.int(2) === 0 ? [] : [PortConfig.fromPartial({ mode: PortMode.INGRESS, published })];
      tx.put("service", { ...tx.get("service", id)!, ports });
    });
  };

  const changeNode = (): void => {
    const id = `n${1 + random.int(WALK_NODES)}`;
    const node = state.get("node", id);
    cluster.commit((tx) => {
      if (node === undefined) return tx.put("node", makeNode(id));
      if (random.int(6) === 0) return tx.delete("node", id);
      const up = pick([NodeState.NODE_READY, NodeState.NODE_DOWN, NodeState.NODE_STATE_UNKNOWN]);
      const availability = pick([NodeAvailability.ACTIVE, NodeAvailability.PAUSE, NodeAvailability.DRAIN]);
      const addr = pick([node.status?.addr ?? "", "192.0.2.77"]);
      const status = { state: up, message: "", addr, since: cluster.now };
      return tx.put("node", { ...node, status, spec: { ...node.spec!, availability } });
    });
  };

  /** A container of its own begins, is told to end, or is removed. */
  const changeContainer = (): void => {
    const name = pick(["box", "tub"]);
    const known = state.containerByName(name);
    cluster.commit((tx) => {
      if (known === undefined) {
        const { task: spec } = makeSpec(name, 1, { networks: [{ target: pick(WALK_NETWORKS) }] });
        tx.put("task", Task.fromPartial({ id: cluster.ctx.newId(), name, spec: spec!, desiredState: 512 }));
      } else if (hasEnded(known) || known.nodeId === "") tx.delete("task", known.id);
      else if (isWanted(known))
        tx.put("task", { ...known, desiredState: pick([TaskState.TASK_SHUTDOWN, 800] as const) });
    });
  };

  /** A running task is connected to a network, or taken from one. */
  const changeConnection = (): void => {
    const task = pick([...state.all("task")].filter(isRunning));
    const networkId = pick(WALK_NETWORKS);
    if (task === undefined) return;
    const others = task.attachments.filter((a) => a.networkId !== networkId);
    const ipv4 = `10.9.${random.int(256)}.${random.int(256)}/16`;
    if (state.addressHolder(networkId, ipv4.split("/")[0]!) !== undefined) return;
    const added = others.length < task.attachments.length ? [] : [NetworkAttachment.fromPartial({ networkId, ipv4 })];
    cluster.commit((tx) => tx.put("task", { ...task, attachments: [...others, ...added] }));
  };

  const removeService = (): void => {
    const service = state.get("service", pick(SERVICES));
    if (service !== undefined) cluster.commit((tx) => tx.put("service", { ...service, pendingDelete: true }));
  };

  const lead = (): void => {
    if (wakeAt !== undefined && wakeAt <= cluster.now) for (const id of ["", ...SERVICES]) services.add(id);
    const dirty = { services: [...services], nodes: [...nodes] };
    services.clear();
    nodes.clear();
    const next = cluster.control(dirty).wakeAt;
    // A pass over some services says nothing about the others' timers: the earlier one counts.
    wakeAt = wakeAt === undefined || wakeAt <= cluster.now ? next : Math.min(wakeAt, next ?? wakeAt);
  };

  return {
    cluster,
    lead,
    act: () => {
      const dice = random.int(100);
      if (dice < 4) deploy();
      else if (dice < 8) changeNode();
      else if (dice < 9) removeService();
      else if (dice < 10) changeIngress();
      else if (dice < 11) changeContainer();
      else if (dice < 12) changeConnection();
      else if (dice < 14) failing = random.int(3) * 0.1;
      else if (dice < 18) cluster.now += random.int(1500);
      else if (dice < 50) lead();
      else cluster.agentStep();
    },
    calm: () => {
      failing = 0;
      cluster.commit((tx) => {
        for (let i = 1; i <= WALK_NODES; i++) {
          const node = tx.get("node", `n${i}`);
          tx.put("node", { ...makeNode(`n${i}`), meta: node?.meta });
        }
      });
      for (let quiet = 0; quiet < 3; ) {
        const before = state.index;
        lead();
        cluster.agentStep();
        if (state.index !== before) quiet = 0;
        else if (wakeAt !== undefined && wakeAt > cluster.now) cluster.now = wakeAt;
        else quiet++;
      }
    },
  };
};
