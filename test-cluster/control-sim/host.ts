// A host with its agent: containers, wiring and files stay when the agent dies. A life of the agent is put together as in
// node-agent/main.ts, from the real session, kept view and task runner, on a runtime and wiring that are only books.
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { TswarmError } from "#base/errors.ts";
import type { Random } from "#base/random.ts";
import type { ImageStore } from "#node-agent/images/store.ts";
import { startTaskRunner, type TaskRunner } from "#node-agent/reconcile/task-runner.ts";
import type { ContainerState, ExitStatus, Runtime } from "#node-agent/runtime/runtime.ts";
import { type KeptView, keepView } from "#node-agent/session/kept-view.ts";
import { type Session, startSession } from "#node-agent/session/session.ts";
import type { View } from "#node-agent/session/view.ts";
import type { Wiring } from "#node-agent/wiring/wiring.ts";
import { NodeDescription, type NodeRole, type Task } from "#proto/gen/types.ts";
import type { SimNet } from "#test-cluster/control-sim/grpc.ts";
import { CLUSTER, managerAddress } from "#test-cluster/control-sim/manager.ts";
import { clockOf, EPOCH, loggerOf, newActor, type World } from "#test-cluster/control-sim/world.ts";
import { between, chance, exponential, fork, pick } from "#test-cluster/sim/draw.ts";
import type { Actor } from "#test-cluster/sim/virtual-time.ts";

export const IMAGE = "localhost/web:1";
const DIGEST = "sha256:web";
const image = {
  digest: DIGEST,
  names: [IMAGE],
  config: { env: [], entrypoint: [], cmd: ["/app"], workdir: "", user: "", stopSignal: "", exposedPorts: [] },
  layers: ["/layer"],
  sizeBytes: 1,
};

export type Container = {
  readonly id: string;
  readonly pid: number;
  state: ContainerState;
  exit: ExitStatus | undefined;
  /** Of the agent that waits for its end. */
  waiters: (() => void)[];
};

/** What the rules want to know at once. */
export type HostWatch = {
  attached(host: SimHost, task: Task): void;
  starts(host: SimHost, taskId: string): void;
  /** It acts by this view from now on. */
  told(host: SimHost, view: View): void;
  /** It has taken a message of its manager. */
  taken(host: SimHost, view: View): void;
  reported(host: SimHost, taskId: string, state: number): void;
};

type Life = {
  readonly actor: Actor;
  runner: TaskRunner | undefined;
  session: Session | undefined;
  kept: KeptView;
};

export class SimHost {
  readonly name: string;
  nodeId: string;
  /** What the agent keeps in node.json. */
  managers: string[];
  hasManager = false;
  /** As its manager has told it; undefined: not yet. */
  wantedRole: NodeRole | undefined;
  readonly containers = new Map<string, Container>();
  /** Tasks that have their addresses in this host's kernel. */
  readonly wired = new Map<string, Task>();
  life: Life | undefined;
  poweredOff = false;
  /** Its node was removed and the agent knows: everything is being given back. */
  leaving = false;
  /** It has left and not joined again. */
  out = false;
  clockMs = 0;
  readonly #world: World;
  readonly #net: SimNet;
  readonly #watch: HostWatch;
  readonly #random: Random;
  readonly #dir: string;
  readonly #onLeft: (host: SimHost) => void;
  #lives = 0;
  #pids = 1000;

  constructor(
    world: World,
    net: SimNet,
    watch: HostWatch,
    options: {
      readonly name: string;
      readonly nodeId: string;
      readonly managers: string[];
      readonly dir: string;
      readonly onLeft: (host: SimHost) => void;
    },
  ) {
    this.#world = world;
    this.#net = net;
    this.#watch = watch;
    this.name = options.name;
    this.nodeId = options.nodeId;
    this.managers = options.managers;
    this.#random = fork(world.random);
    this.#onLeft = options.onLeft;
    this.#dir = join(options.dir, options.name);
    mkdirSync(this.#dir, { recursive: true });
  }

  /** It has joined again, as another node. */
  joined(nodeId: string, managers: readonly string[]): void {
    this.nodeId = nodeId;
    this.managers = [...managers];
    this.wantedRole = undefined;
    this.leaving = false;
    this.out = false;
  }

  /** As `whomToAsk` of node-agent/local/node.ts. */
  get asks(): string[] {
    const own = managerAddress(this.name);
    return this.hasManager && !this.managers.includes(own) ? [...this.managers, own] : this.managers;
  }

  get alive(): boolean {
    return this.life?.actor.dead === false;
  }

  get address(): string {
    return `192.0.2.${[...this.name].reduce((sum, c) => (sum * 31 + c.charCodeAt(0)) % 200, 7) + 10}`;
  }

  start(): void {
    const world = this.#world;
    const actor = newActor(`${this.name}/agent.${++this.#lives}`);
    const clock = clockOf(world, actor, () => this.clockMs);
    world.note(`${actor.name} starts`);
    const life: Life = {
      actor,
      runner: undefined,
      session: undefined,
      kept: keepView(join(this.#dir, "view.bin"), clock),
    };
    this.life = life;
    world.time.after(0, actor, () => {
      this.#run(life).catch((error) => {
        if (!actor.dead) world.violate("an agent starts", `${actor.name}: ${(error as Error).stack ?? error}`);
      });
    });
  }

  async #run(life: Life): Promise<void> {
    const world = this.#world;
    const { actor } = life;
    const clock = clockOf(world, actor, () => this.clockMs);
    const logger = loggerOf(world, actor);
    const random = fork(this.#random);
    const wiring = this.#wiring(actor);
    const runner = await startTaskRunner({
      tasksDir: join(this.#dir, "tasks"),
      runtime: this.#runtime(actor, random),
      images: {
        resolve: (ref: string) => (ref === IMAGE || ref === DIGEST ? image : undefined),
      } as unknown as ImageStore,
      wiring,
      clock,
      logger,
      report: (update) => {
        this.#watch.reported(this, update.taskId, update.status!.state);
        life.session?.report(update);
      },
      rootfs: { mount: ({ dir }) => ({ merged: join(dir, "merged"), upper: join(dir, "upper") }), unmount: () => {} },
      sockets: {
        connections: async () => (!world.healed && chance(random, world.mix.connectionsRate) ? 1 : 0),
        listens: async () => true,
      },
    });
    life.runner = runner;
    const setView = (view: View, applied = () => {}): void => {
      wiring.update(view, applied);
      runner.assign(view);
      this.#watch.told(this, view);
    };
    const { nodeId } = this;
    const caller = { host: this.name, actor, peer: { nodeId, clusterId: CLUSTER, role: "worker" as const } };
    const images = [{ digest: DIGEST, names: [IMAGE] }];
    const description = NodeDescription.fromPartial({
      ...{ hostname: this.name, os: "linux", arch: "amd64", images },
      resources: { nanoCpus: 8e9, memoryBytes: 16e9 },
      routes: ["192.0.2.0/24"],
    });
    life.session = startSession({
      clock,
      random,
      logger,
      addr: this.address,
      managers: () => this.asks,
      dial: (address) => this.#net.dial(caller, address),
      description: async () => description,
      statuses: () => runner.statuses(),
      onAccepted: () => {},
      onAssignments: (message, applied) => {
        const view = life.kept.apply(message);
        this.#watch.taken(this, view);
        setView(view, applied);
      },
      onManagers: (addresses, _leader, node) => {
        if (addresses.length > 0) this.managers = addresses;
        this.wantedRole = node?.role;
      },
      onStream: () => {},
      onRemoved: () => {
        world.note(`${actor.name} was removed`);
        this.leaving = true;
        void this.#leave(life);
      },
    });
    setView(life.kept.current());
  }

  /** As `removeTasks` of node-agent/main.ts, then `tsctl cluster leave`, and in a while a join. */
  async #leave(life: Life): Promise<void> {
    life.kept.forget();
    await life.runner!.removeAll();
    this.wired.clear();
    this.#world.note(`${life.actor.name} has left`);
    this.crash("ends");
    rmSync(this.#dir, { recursive: true, force: true });
    mkdirSync(this.#dir, { recursive: true });
    this.out = true;
    this.#onLeft(this);
  }

  #workMs(random: Random): number {
    const { mix, healed } = this.#world;
    if (!healed && chance(random, mix.slowRate)) return mix.slowMs * random.float();
    return mix.agentWorkMs * between(random, 0.5, 1.5);
  }

  #wiring(actor: Actor): Wiring {
    const { time } = this.#world;
    const random = fork(this.#random);
    let waiting: (() => void) | undefined;
    const wiring: Pick<Wiring, "attach" | "adopt" | "detach" | "update" | "address"> = {
      attach: async (task) => {
        await time.wait(this.#workMs(random), actor);
        this.wired.set(task.id, task);
        this.#watch.attached(this, task);
        await time.wait(this.#workMs(random), actor);
        return { path: `/netns/${task.id}` };
      },
      adopt: () => {},
      detach: async (id) => {
        await time.wait(this.#workMs(random), actor);
        this.wired.delete(id);
      },
      update: (view, applied) => {
        // Containers that run are connected to networks, or taken from some.
        for (const [id, task] of this.wired) {
          const now = view.tasks.get(id);
          if (now === undefined || now.attachments === task.attachments) continue;
          this.wired.set(id, now);
          this.#watch.attached(this, now);
        }
        if (waiting === undefined)
          time.after(this.#workMs(random), actor, () => {
            waiting!();
            waiting = undefined;
          });
        waiting = applied;
      },
      address: () => this.address,
    };
    return wiring as Wiring;
  }

  #exit(container: Container, code: number): void {
    if (container.state === "exited") return;
    container.state = "exited";
    container.exit = { code, oomKilled: false, at: EPOCH + Math.round(this.#world.time.now) };
    this.#world.note(`${this.name}: ${container.id} exits with ${code}`);
    for (const waiter of container.waiters.splice(0)) waiter();
  }

  #runtime(actor: Actor, random: Random): Runtime {
    const world = this.#world;
    const { time, mix } = world;
    const find = (id: string): Container => {
      const container = this.containers.get(id);
      if (container === undefined) throw new TswarmError("not_found", "there is no such container");
      return container;
    };
    /** Before and after what a call does the agent may die. */
    const step = async <T>(work: () => T): Promise<T> => {
      await time.wait(this.#workMs(random) / 2, actor);
      const result = work();
      await time.wait(this.#workMs(random) / 2, actor);
      return result;
    };
    const wait = (id: string): Promise<ExitStatus> =>
      new Promise((resolve, reject) => {
        const container = this.containers.get(id);
        if (container === undefined) return reject(new TswarmError("not_found", "there is no such container"));
        const told = () => time.after(0, actor, () => resolve(container.exit!));
        if (container.state === "exited") told();
        else container.waiters.push(told);
      });
    const runtime: Partial<Runtime> = {
      create: ({ id }) =>
        step(() => {
          if (this.containers.has(id)) throw new TswarmError("name_conflict", "the container exists");
          if (!world.healed && chance(random, mix.createFails)) throw new TswarmError("internal", "create fails");
          const container: Container = { id, pid: this.#pids++, state: "created", exit: undefined, waiters: [] };
          this.containers.set(id, container);
          return { pid: container.pid };
        }),
      start: (id) =>
        step(() => {
          const container = find(id);
          if (container.state !== "created") throw new TswarmError("conflict", `the container is ${container.state}`);
          container.state = "running";
          world.note(`${this.name}: ${id} runs`);
          this.#watch.starts(this, id);
          if (world.healed || !chance(random, mix.failRate)) return;
          const code = pick(random, [0, 1, 1, 137]);
          time.after(exponential(random, mix.failAfterMs), time.world, () => {
            if (this.containers.get(id) === container && container.state === "running") this.#exit(container, code);
          });
        }),
      stop: async (id) => {
        const container = find(id);
        await time.wait(this.#workMs(random), actor);
        this.#exit(container, 143);
        return wait(id);
      },
      wait,
      remove: (id) =>
        step(() => {
          const container = this.containers.get(id);
          if (container === undefined) return;
          this.#exit(container, 137);
          this.containers.delete(id);
        }),
      list: () =>
        step(() =>
          [...this.containers.values()].map(({ id, pid, state, exit }) => ({
            ...{ id, pid, state, logPath: "", labels: {} },
            ...(exit && { exit }),
          })),
        ),
      close: () => {},
    };
    return runtime as Runtime;
  }

  /** The agent's process is gone; its containers go on. */
  crash(why: string): void {
    if (!this.alive) return;
    const { actor } = this.life!;
    this.#world.note(`${actor.name} ${why}`);
    actor.dead = true;
    for (const container of this.containers.values()) container.waiters = [];
    this.#net.died(actor);
  }

  pause(ms: number): void {
    if (!this.alive) return;
    const { actor } = this.life!;
    actor.pausedUntil = this.#world.time.now + ms;
    this.#world.note(`${actor.name} pauses for ${ms.toFixed(0)} ms`);
  }

  /** Everything stops; files stay. */
  losePower(): void {
    this.crash("loses power");
    this.containers.clear();
    this.wired.clear();
  }
}
