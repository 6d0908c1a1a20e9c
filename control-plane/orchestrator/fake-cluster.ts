// For tests: a state with the pure controllers run over it, agents that advance their tasks at random, a clock that is
// moved by hand, and the rules that must hold after every single command.
import { assert } from "#base/assert.ts";
import { type Random, seededRandom } from "#base/random.ts";
import { schedule } from "#control-plane/scheduler/schedule.ts";
import { createState } from "#control-plane/state/state.ts";
import type { State, StateBatch, Tx, WriteContext } from "#control-plane/state/types.ts";
import {
  Cluster,
  type DeepPartial,
  Network,
  NetworkAttachment,
  Node,
  NodeAvailability,
  NodeState,
  Service,
  ServiceSpec,
  type Task,
  type TaskSpec,
  TaskState,
} from "#proto/gen/types.ts";
import { type Dirty, orchestrate } from "./orchestrate.ts";
import { hasEnded, isLost, observed } from "./task-life.ts";

export type FakeCluster = {
  readonly state: State;
  readonly random: Random;
  readonly ctx: WriteContext;
  now: number;
  /** What a task of this spec does when it is started: run (default), fail, or complete. */
  fate(task: Task): "run" | "fail" | "complete" | "reject";
  commit(write: (tx: Tx) => void): void;
  /** One pass of the leader over everything, or over what is given. */
  control(dirty?: Dirty): { readonly wakeAt?: number };
  /** One random agent brings one of its tasks one step further. False when no agent has anything to do. */
  agentStep(): boolean;
  /** Leader and agents until nothing changes; timers up to `forMs` from now are waited for. */
  settle(forMs?: number): void;
  tasks(serviceId?: string): Task[];
};

const EMPTY = { message: "", error: "", exitCode: 0, pid: 0, containerId: "" };

export const makeNode = (id: string, fields: DeepPartial<Node> = {}): Node =>
  Node.fromPartial({
    id,
    spec: { availability: NodeAvailability.ACTIVE },
    description: {
      hostname: id,
      os: "linux",
      resources: { nanoCpus: 8e9, memoryBytes: 16e9 },
      images: [{ digest: "sha256:web", names: ["localhost/web:1"] }],
    },
    status: { state: NodeState.NODE_READY, addr: `192.0.2.${id.replace(/\D/g, "") || 1}` },
    ...fields,
  });

export const makeSpec = (
  name: string,
  replicas: number,
  task: DeepPartial<TaskSpec> = {},
  rest: DeepPartial<ServiceSpec> = {},
): ServiceSpec =>
  ServiceSpec.fromPartial({
    annotations: { name },
    replicas,
    task: { container: { image: "localhost/web:1" }, ...task },
    ...rest,
  });

/** Sets the whole spec as the user would: a new task spec gets a new version, and a halted update is over. */
export const setSpec = (tx: Tx, id: string, spec: ServiceSpec): void => {
  const old = tx.get("service", id);
  const blank = Service.fromPartial({ id });
  tx.put("service", {
    ...(old ?? blank),
    spec,
    previousSpec: old?.spec,
    specVersion: (old?.specVersion ?? 0) + 1,
    updateStatus: undefined,
  });
};

export const makeNetwork = (id: string): Network =>
  Network.fromPartial({
    id,
    spec: { annotations: { name: id }, driver: "overlay" },
    vni: 4096 + id.charCodeAt(id.length - 1),
  });

export const createFakeCluster = (
  seed: number,
  nodes: number,
  onBatch: (batch: StateBatch) => void = () => {},
): FakeCluster => {
  const state = createState();
  const random = seededRandom(seed);
  let address = 1;
  let made = 0;
  const reported = new Map<string, TaskState>();

  state.watch((batch) => {
    for (const event of batch.events) {
      if (event.table !== "task" || event.action === "remove") continue;
      const task: Task = event.object;
      assert(observed(task) >= (reported.get(task.id) ?? 0), `${task.name}: the state went back`);
      assert(task.desiredState >= (event.previous?.desiredState ?? 0), `${task.name}: the desired state went back`);
      assert(
        event.previous === undefined || event.previous.nodeId === "" || event.previous.nodeId === task.nodeId,
        "moved",
      );
      reported.set(task.id, observed(task));
    }
    onBatch(batch);
  });

  /** As the allocator does, without subnets. */
  const allocate = (tx: Tx): void => {
    for (const task of [...tx.all("task")]) {
      if (observed(task) !== TaskState.TASK_NEW) continue;
      const attachments = (task.spec?.networks ?? []).map(({ target }) => {
        const ipv4 = `10.0.${(address >> 8) & 255}.${address & 255}/16`;
        address++;
        return NetworkAttachment.fromPartial({ networkId: target, ipv4 });
      });
      tx.put("task", { ...task, attachments, status: { ...EMPTY, at: cluster.now, state: TaskState.TASK_PENDING } });
    }
  };

  const next = (task: Task): TaskState | undefined => {
    const state = observed(task);
    if (task.desiredState > TaskState.TASK_RUNNING)
      return task.desiredState === TaskState.TASK_COMPLETE ? undefined : TaskState.TASK_SHUTDOWN;
    const ladder = [192, 256, 320, 384, 448, 512] as const;
    const after = ladder[ladder.indexOf(state as 192) + 1];
    const fate = cluster.fate(task);
    if (state === TaskState.TASK_PREPARING && fate === "reject") return TaskState.TASK_REJECTED;
    if (state === TaskState.TASK_RUNNING)
      return fate === "fail" ? TaskState.TASK_FAILED : fate === "complete" ? TaskState.TASK_COMPLETE : undefined;
    return after !== undefined && after <= task.desiredState ? after : undefined;
  };

  const cluster: FakeCluster = {
    state,
    random,
    now: 1_000_000,
    ctx: {
      get now() {
        return cluster.now;
      },
      newId: () => `id${made++}`,
    },
    fate: () => "run",
    commit: (write) => {
      const tx = state.begin();
      write(tx);
      const changes = tx.changes();
      if (changes.length === 0) return;
      const result = state.apply(state.index + 1, { id: cluster.ctx.newId(), time: cluster.now, changes });
      assert(result.ok, `refused: ${JSON.stringify(result)}`);
    },
    control: (dirty = "all") => {
      let wakeAt: number | undefined;
      cluster.commit((tx) => {
        wakeAt = orchestrate(tx, cluster.ctx, dirty).wakeAt;
        allocate(tx);
        schedule(tx, cluster.ctx, { tasks: [...tx.all("task")].map((task) => task.id) });
      });
      return wakeAt === undefined ? {} : { wakeAt };
    },
    agentStep: () => {
      const able = [...state.all("task")].flatMap((task) => {
        if (task.nodeId === "" || hasEnded(task) || isLost(state.get("node", task.nodeId))) return [];
        const after = next(task);
        return after === undefined ? [] : [{ task, after }];
      });
      const chosen = able[random.int(Math.max(able.length, 1))];
      if (chosen === undefined) return false;
      const { task, after } = chosen;
      cluster.commit((tx) => tx.put("task", { ...task, status: { ...EMPTY, at: cluster.now, state: after } }));
      return true;
    },
    settle: (forMs = 0) => {
      const until = cluster.now + forMs;
      for (let steps = 0; ; steps++) {
        assert(steps < 20_000, "it settles");
        const before = state.index;
        const { wakeAt } = cluster.control();
        const stepped = cluster.agentStep();
        if (stepped || state.index !== before) continue;
        if (wakeAt === undefined || wakeAt > until) break;
        cluster.now = Math.max(wakeAt, cluster.now + 1);
      }
      cluster.now = Math.max(cluster.now, until);
    },
    tasks: (serviceId = "web") => [...state.tasksOfService(serviceId)],
  };

  cluster.commit((tx) => {
    tx.put("cluster", Cluster.fromPartial({ id: "c", spec: { taskHistory: 5 } }));
    for (let i = 1; i <= nodes; i++) tx.put("node", makeNode(`n${i}`));
  });
  return cluster;
};
