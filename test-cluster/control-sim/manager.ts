// A manager: a disk that stays, and one life of its process after the other. A life is put together as in
// control-plane/manager/main.ts, from the same parts.
import { newId } from "#base/ids.ts";
import type { Random } from "#base/random.ts";
import { createControlService } from "#control-plane/api/control-service.ts";
import { managersOnly } from "#control-plane/api/require-manager.ts";
import { createLeaderLoop } from "#control-plane/controllers/leader-loop.ts";
import { createDispatcher } from "#control-plane/dispatcher/dispatcher.ts";
import type { StateMachine } from "#control-plane/log/log.ts";
import { findLeader } from "#control-plane/manager/find-leader.ts";
import { followLeadership, type Leadership } from "#control-plane/manager/leadership.ts";
import { managerMembership } from "#control-plane/manager/membership.ts";
import { createReplicatedState, type ReplicatedState } from "#control-plane/manager/replicated-state.ts";
import { initCluster, registerNode } from "#control-plane/operations/index.ts";
import type { Beginning } from "#control-plane/raft-host/member-files.ts";
import { openRaftLog, type RaftLog } from "#control-plane/raft-host/raft-log.ts";
import { testKeys } from "#control-plane/raft-host/test-keys.ts";
import { createState } from "#control-plane/state/state.ts";
import { ControlDefinition } from "#proto/gen/control.ts";
import { DispatcherDefinition } from "#proto/gen/dispatcher.ts";
import { ClusterSpec } from "#proto/gen/types.ts";
import { addService, type Peer } from "#proto/rpc/server.ts";
import { type Caller, collectMethods, type Listener, type SimNet } from "#test-cluster/control-sim/grpc.ts";
import { type RaftEnd, raftTransport } from "#test-cluster/control-sim/raft-transport.ts";
import { clockOf, loggerOf, newActor, type World } from "#test-cluster/control-sim/world.ts";
import { between, fork } from "#test-cluster/sim/draw.ts";
import { SimDisk } from "#test-cluster/sim/sim-disk.ts";
import type { Actor } from "#test-cluster/sim/virtual-time.ts";

export const CLUSTER = "simulated";
/** Calls that were passed on to a host that is cut off end after twice this: manager/main.ts. */
const KEEPALIVE_MS = 1_000;

export type ManagerLife = {
  readonly manager: SimManager;
  readonly actor: Actor;
  readonly replicated: ReplicatedState;
  log: RaftLog | undefined;
  leadership: Leadership | undefined;
};

export type ManagerSurroundings = {
  readonly world: World;
  readonly net: SimNet;
  readonly ends: Map<number, RaftEnd>;
  /** Who is registered when the cluster is made. */
  readonly firstNodes: readonly Parameters<typeof registerNode>[2][];
  /** Sees what each life applies. */
  readonly watch: (life: ManagerLife, machine: StateMachine) => StateMachine;
};

export const managerAddress = (host: string): string => `${host}:2377`;
/** The Unix socket of a manager. */
export const localAddress = (host: string): string => `${host}:local`;

export class SimManager {
  readonly raftId: number;
  readonly host: string;
  readonly nodeId: string;
  life: ManagerLife | undefined;
  removed = false;
  readonly #s: ManagerSurroundings;
  readonly #beginning: Beginning;
  readonly #random: Random;
  readonly #disk: SimDisk;
  #lives = 0;
  #skewMs: number;

  constructor(raftId: number, host: string, nodeId: string, beginning: Beginning, surroundings: ManagerSurroundings) {
    this.raftId = raftId;
    this.host = host;
    this.nodeId = nodeId;
    this.#beginning = beginning;
    this.#s = surroundings;
    this.#random = fork(surroundings.world.random);
    this.#disk = new SimDisk(fork(this.#random));
    this.#skewMs = between(this.#random, -1, 1) * surroundings.world.mix.managerSkewMs;
  }

  get alive(): boolean {
    return this.life?.actor.dead === false;
  }

  get leading(): boolean {
    return this.alive && this.life!.leadership?.leading() === true;
  }

  start(): void {
    const { world, watch } = this.#s;
    const actor = newActor(`${this.host}/manager.${++this.#lives}`);
    const clock = clockOf(world, actor, () => this.#skewMs);
    const random = fork(this.#random);
    const replicated = createReplicatedState(createState(), clock, random);
    const life: ManagerLife = { manager: this, actor, replicated, log: undefined, leadership: undefined };
    this.life = life;
    world.note(`${actor.name} starts`);
    world.time.after(0, actor, () => {
      this.#open(life, watch(life, replicated.machine), random).catch((error) => {
        if (!actor.dead) world.violate("a manager starts", `${actor.name}: ${(error as Error).stack ?? error}`);
      });
    });
  }

  async #open(life: ManagerLife, stateMachine: StateMachine, random: Random): Promise<void> {
    const { world, net, ends } = this.#s;
    const { time, mix } = world;
    const { actor, replicated } = life;
    const clock = clockOf(world, actor, () => this.#skewMs);
    const logger = loggerOf(world, actor);
    const beforeChange = () => {
      if (actor.dead) throw new Error("this process is dead");
    };
    const log = await openRaftLog({
      dir: "/member",
      raftId: this.raftId,
      clusterId: CLUSTER,
      keys: testKeys(random.int(2 ** 31)),
      beginning: this.#beginning,
      stateMachine,
      transport: (raft) => {
        const end: RaftEnd = { host: this.host, actor, raft };
        ends.set(this.raftId, end);
        return raftTransport(world, ends, end);
      },
      clock,
      random: fork(random),
      logger,
      snapshotEvery: mix.snapshotEvery,
      keepEntries: mix.keepEntries,
      segmentBytes: 1 << 16,
      disk: this.#disk.mount({
        wait: (ms) => time.wait(ms, actor),
        syncMs: () => mix.syncMs * between(random, 0.5, 1.5),
        beforeChange,
      }),
      onFatal: (error) => world.violate("a manager goes on", `${actor.name}: ${(error as Error).stack ?? error}`),
      onRemoved: () => {
        this.removed = true;
        this.crash("was removed");
      },
    });
    life.log = log;
    replicated.attach(log);
    const dispatcher = createDispatcher({
      replicated,
      clock,
      logger,
      newId: () => newId(random),
      managers: () => log.status().members.map(({ nodeId, addr, leader }) => ({ nodeId, addr, leader })),
      leaderAddr: () => life.leadership?.leaderAddr() ?? "",
    });
    const leadership = followLeadership(
      log,
      [
        { start: () => this.#bootstrap(replicated), stop: () => {} },
        createLeaderLoop({ replicated, clock, logger }),
        dispatcher,
        managerMembership({ log, state: replicated.state, dispatcher, clock, logger }),
      ],
      clock,
      logger,
    );
    life.leadership = leadership;
    const peer: Peer = { nodeId: this.nodeId, clusterId: CLUSTER, role: "manager" };
    const caller: Caller = { host: this.host, actor, peer };
    const elsewhere = () =>
      findLeader({
        leadership,
        own: managerAddress(this.host),
        dial: (address) => net.dial(caller, address, KEEPALIVE_MS),
        connected: (channel, ms) => net.connected(caller, channel, ms),
        clock,
      });
    const control = createControlService({ replicated, log, dispatcher, random });
    const listen = (address: string): Listener["methods"] => {
      const methods: Listener["methods"] = new Map();
      net.listeners.set(address, { host: this.host, actor, methods });
      return methods;
    };
    const server = collectMethods(listen(managerAddress(this.host)));
    addService(server, ControlDefinition, control, { elsewhere, guard: managersOnly(replicated.state, CLUSTER) });
    addService(server, DispatcherDefinition, dispatcher.handlers);
    addService(collectMethods(listen(localAddress(this.host))), ControlDefinition, control, { elsewhere, local: peer });
  }

  /** As control-plane/manager/bootstrap.ts, and all hosts have joined. */
  async #bootstrap(replicated: ReplicatedState): Promise<void> {
    if (replicated.state.cluster() !== undefined) return;
    const { world, firstNodes } = this.#s;
    const pem = Buffer.from("pem");
    await replicated.write((tx, ctx) => {
      initCluster(tx, ctx, {
        ...{ id: CLUSTER, caCertificatePem: pem, caKeyPem: pem, joinTokenWorker: "w", joinTokenManager: "m" },
        spec: ClusterSpec.fromPartial({ heartbeatMs: world.mix.heartbeatMs, taskHistory: world.mix.taskHistory }),
      });
      for (const node of firstNodes) registerNode(tx, ctx, node);
    });
  }

  /** The process is gone, and with it what was not synced. */
  crash(why: string): void {
    if (this.life === undefined || !this.alive) return;
    const { world, net } = this.#s;
    world.note(`${this.life.actor.name} ${why}`);
    this.life.actor.dead = true;
    this.#disk.losePower();
    net.died(this.life.actor);
  }

  pause(ms: number): void {
    if (!this.alive) return;
    const { world } = this.#s;
    this.life!.actor.pausedUntil = world.time.now + ms;
    world.note(`${this.life!.actor.name} pauses for ${ms.toFixed(0)} ms`);
  }
}
