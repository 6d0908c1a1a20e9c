// One run: a whole cluster under the faults that its seed draws, then left alone. Everything random comes from the seed, so the
// same seed gives the same run, to the last byte of its trace.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { seededRandom } from "#base/random.ts";
import type { StateMachine } from "#control-plane/log/log.ts";
import { registerNode } from "#control-plane/operations/index.ts";
import type { Peer } from "#control-plane/raft-host/peers.ts";
import { Assignments_Kind, ManagerMessage } from "#proto/gen/dispatcher.ts";
import { NodeRole } from "#proto/gen/types.ts";
import { drawFaultMix, type FaultMix } from "#test-cluster/control-sim/fault-mix.ts";
import { goalMissed } from "#test-cluster/control-sim/goal.ts";
import { SimNet } from "#test-cluster/control-sim/grpc.ts";
import { SimHost } from "#test-cluster/control-sim/host.ts";
import { HostRules } from "#test-cluster/control-sim/host-rules.ts";
import { Links } from "#test-cluster/control-sim/links.ts";
import {
  type ManagerLife,
  type ManagerSurroundings,
  managerAddress,
  SimManager,
} from "#test-cluster/control-sim/manager.ts";
import { Nemesis } from "#test-cluster/control-sim/nemesis.ts";
import type { RaftEnd } from "#test-cluster/control-sim/raft-transport.ts";
import { Reference } from "#test-cluster/control-sim/reference.ts";
import { Roles } from "#test-cluster/control-sim/roles.ts";
import { SentViews } from "#test-cluster/control-sim/sent-views.ts";
import { Silence } from "#test-cluster/control-sim/silence.ts";
import { StateRules } from "#test-cluster/control-sim/state-rules.ts";
import { Users } from "#test-cluster/control-sim/users.ts";
import { startWatcher, type Watcher } from "#test-cluster/control-sim/watchers.ts";
import type { World } from "#test-cluster/control-sim/world.ts";
import { chance, fork } from "#test-cluster/sim/draw.ts";
import { recurring } from "#test-cluster/sim/recurring.ts";
import { Trace } from "#test-cluster/sim/trace.ts";
import { VirtualTime } from "#test-cluster/sim/virtual-time.ts";

export type Run = {
  readonly seed: number;
  readonly violation: { readonly property: string; readonly detail: string } | null;
  readonly mix: FaultMix;
  /** Of all that happened; equal for equal seeds. */
  readonly hash: string;
  readonly simulatedMs: number;
  readonly lastEvents: readonly string[];
  readonly events: number;
  readonly commits: number;
  readonly acknowledged: number;
  readonly refused: number;
  readonly starts: number;
  readonly viewsCompared: number;
  /** Members that came and went. */
  readonly roleChanges: number;
};

export type RunOptions = {
  readonly seed: number;
  /** Simulated, of the phase with faults. */
  readonly seconds: number;
  /** In place of what the seed draws. */
  readonly faults?: Partial<FaultMix>;
  /** Gets every event as a line. */
  readonly onEvent?: (line: string) => void;
};

/** After the faults everything must be as wanted within this. */
const CALM_MS = 240_000;
const LOOK_MS = 1_000;
const REJOIN_MS = 500;
const VIEWS_EVERY_MS = 300;
const SESSION = "/tswarm.v1.Dispatcher/Session";

class Run_ {
  readonly time = new VirtualTime();
  readonly trace: Trace;
  readonly world: World;
  readonly managers: SimManager[] = [];
  readonly hosts: SimHost[];
  readonly reference: Reference;
  readonly rules: StateRules;
  readonly hostRules: HostRules;
  readonly sent: SentViews;
  readonly net: SimNet;
  readonly users: Users;
  readonly roles: Roles;
  readonly nemesis: Nemesis;
  readonly watchers: Watcher[] = [];
  violation: Run["violation"] = null;
  commits = 0;
  starts = 0;
  viewsCompared = 0;
  readonly #dir: string;
  readonly #everything: ReturnType<typeof recurring>;
  #rejoined = 0;

  constructor({ seed, faults, onEvent }: RunOptions, dir: string) {
    const { time } = this;
    const trace = new Trace(onEvent);
    this.trace = trace;
    this.#dir = dir;
    const random = seededRandom(seed);
    const mix = { ...drawFaultMix(fork(random)), ...faults };
    const note = (text: string): void => trace.note(time.now, text);
    const links = new Links(time, fork(random), mix);
    this.world = { time, trace, random: fork(random), mix, links, healed: false, note, violate: this.violate };
    this.rules = undefined as unknown as StateRules;
    this.reference = new Reference((commit) => {
      this.commits++;
      this.rules.committed(commit);
      note(`${commit.batch.index}: ${this.reference.history.get(commit.batch.index)!.join(", ")}`);
    }, this.violate);
    this.rules = new StateRules(this.reference.state, this.violate);
    this.hostRules = new HostRules(this.reference, this.rules, this.violate);
    this.sent = new SentViews(this.world, (end) => this.#lives().find(({ actor }) => actor === end.listener.actor));
    const losses = fork(random);
    this.net = new SimNet({
      ...{ time, links, random: fork(random) },
      loses: (path, bytes) =>
        path === SESSION && !this.world.healed && chance(losses, mix.lossRate) && isIncrement(bytes),
      onServerMessage: (path, end, bytes) => {
        if (path === SESSION) this.sent.message(end, bytes);
      },
    });
    const names = [
      ...Array.from({ length: mix.managers }, (_, i) => `m${i + 1}`),
      ...Array.from({ length: mix.workers }, (_, i) => `w${i + 1}`),
    ];
    const peers: Peer[] = names
      .slice(0, mix.managers)
      .map((name, i) => ({ raftId: i + 1, nodeId: `node-${name}`, addr: managerAddress(name) }));
    this.hosts = names.map(
      (name) =>
        new SimHost(
          this.world,
          this.net,
          {
            attached: (host, task) => this.hostRules.attached(host, task),
            starts: (host, id) => {
              this.starts++;
              this.hostRules.starts(host, id);
            },
            taken: (host, view) => this.sent.taken(host.nodeId, view),
            told: (host, view) => this.hostRules.told(host, view),
            reported: (host, id, state) => this.hostRules.reported(host, id, state),
          },
          {
            ...{ name, nodeId: `node-${name}`, dir: this.#dir, managers: peers.map(({ addr }) => addr) },
            onLeft: (host) => {
              this.roles.drop(host);
              this.#rejoinLater(host);
            },
          },
        ),
    );
    this.hostRules.hosts.push(...this.hosts);
    const ends = new Map<number, RaftEnd>();
    const firstNodes = this.hosts.map(({ name, nodeId, address }) => ({
      ...{ id: nodeId, hostname: name, addr: address },
      role: name.startsWith("m") ? NodeRole.MANAGER : NodeRole.WORKER,
    }));
    const surroundings: ManagerSurroundings = {
      ...{ world: this.world, net: this.net, ends, firstNodes },
      watch: (life, machine) => this.#observed(life, machine),
    };
    for (const { raftId, nodeId } of peers)
      this.managers.push(
        new SimManager(raftId, names[raftId - 1]!, nodeId, { kind: "bootstrap", members: peers }, surroundings),
      );
    this.roles = new Roles({
      ...{ world: this.world, hosts: this.hosts, managers: this.managers },
      make: (host, raftId, beginning) => new SimManager(raftId, host.name, host.nodeId, beginning, surroundings),
    });
    for (const it of [...this.managers, ...this.hosts]) it.start();
    const shared = { world: this.world, net: this.net, managers: this.managers };
    this.users = new Users({ ...shared, random: fork(random), reference: this.reference, rules: this.rules });
    this.nemesis = new Nemesis({ ...shared, random: fork(random), hosts: this.hosts });
    for (let i = 0; i < mix.watchers; i++)
      this.watchers.push(
        startWatcher(this.world, this.net, this.reference, this.managers, `watcher${i}`, fork(random)),
      );
    const silence = new Silence(this.world, this.reference, this.hosts, this.managers);
    this.#everything = recurring(time, fork(random));
    this.#everything.every(mix.operationEvery, () => {
      if (!this.world.healed) this.users.act();
    });
    this.#everything.every(mix.roleEvery, () => {
      if (!this.world.healed) this.users.changeRole();
    });
    this.#everything.every(VIEWS_EVERY_MS, () => {
      this.viewsCompared += this.sent.check();
      silence.check();
    });
  }

  violate = (property: string, detail: string): void => {
    if (this.violation !== null) return;
    this.violation = { property, detail };
    this.trace.note(this.time.now, `VIOLATED ${property}: ${detail}`);
  };

  #lives(): ManagerLife[] {
    return this.managers.flatMap(({ life }) => (life === undefined ? [] : [life]));
  }

  #observed(life: ManagerLife, machine: StateMachine): StateMachine {
    return {
      apply: (entries) => {
        machine.apply(entries);
        for (const entry of entries) this.reference.applied(life.actor.name, entry);
        this.sent.applied(life);
      },
      restore: async (snapshot) => {
        await machine.restore(snapshot);
        this.trace.note(this.time.now, `${life.actor.name} restores ${snapshot.index}`);
        this.sent.applied(life);
      },
      snapshot: () => machine.snapshot(),
    };
  }

  /** As a join: the leader registers the host as a new node. */
  #rejoinLater(host: SimHost): void {
    const { time } = this;
    const nodeId = `node-${host.name}-${++this.#rejoined}`;
    let joined = false;
    const attempt = (): void => {
      if (joined) return;
      // Again, too, when the leader dies before it answers.
      time.after(4 * REJOIN_MS, time.world, attempt);
      const leader = this.managers.find((manager) => manager.leading);
      if (leader === undefined || host.poweredOff) return;
      const { actor, replicated, log } = leader.life!;
      const node = { id: nodeId, hostname: host.name, role: NodeRole.WORKER, addr: host.address };
      const done = (): void => {
        if (joined) return;
        joined = true;
        host.joined(
          nodeId,
          log!.status().members.map(({ addr }) => addr),
        );
        this.nemesis.startLater(host, 1);
      };
      time.after(1, actor, () => {
        replicated
          .write((tx, ctx) => void registerNode(tx, ctx, node))
          .then(
            () => time.after(1, time.world, done),
            () => {},
          );
      });
    };
    time.after(REJOIN_MS, time.world, attempt);
  }

  #step = (): boolean => this.violation !== null;

  async faults(ms: number): Promise<void> {
    await this.time.run(ms, this.#step);
  }

  async calm(): Promise<void> {
    const { time, world } = this;
    this.trace.note(time.now, "faults end");
    world.healed = true;
    this.nemesis.end();
    // A gap shows with the next message: after the last one there would be none. TCP has no such gaps.
    if (world.mix.lossRate > 0) this.net.reset(() => true);
    const end = time.now + CALM_MS;
    let missed: string[] = [];
    for (let i = 0; this.violation === null && time.now < end; i++) {
      if (i % 20 === 0) {
        this.roles.tellStranded();
        this.users.tidyUp(this.hosts.map(({ nodeId }) => nodeId));
      }
      await time.run(time.now + LOOK_MS, this.#step);
      if (this.violation !== null) return;
      missed = goalMissed({ state: this.reference.state, hosts: this.hosts, managers: this.managers, nowMs: time.now });
      if (missed.length === 0) break;
    }
    this.users.checkRefused();
    if (missed.length > 0) this.violate("desired equals actual in the end", missed.slice(0, 4).join("; "));
    await this.#watchersSee();
  }

  async #watchersSee(): Promise<void> {
    await this.time.run(this.time.now + LOOK_MS, this.#step);
    const last = Math.max(...this.reference.history.keys());
    for (const watcher of this.watchers)
      if (this.violation === null && watcher.seen() < last)
        this.violate("a watcher sees everything in the end", `up to ${watcher.seen()} of ${last}`);
  }

  result(seed: number): Run {
    const { trace, violation, commits, starts, viewsCompared } = this;
    const { acknowledged, refused } = this.users;
    const lastEvents = trace.last(100);
    return {
      ...{ seed, violation, mix: this.world.mix, simulatedMs: this.time.now, lastEvents, events: trace.count },
      ...{ commits, acknowledged, refused, starts, viewsCompared, hash: trace.digest() },
      roleChanges: this.roles.changes,
    };
  }
}

const isIncrement = (bytes: Buffer): boolean => {
  const { message } = ManagerMessage.decode(bytes);
  return message?.$case === "assignments" && message.value.kind === Assignments_Kind.INCREMENTAL;
};

export const simulate = async (options: RunOptions): Promise<Run> => {
  const dir = mkdtempSync(join(tmpdir(), "control-sim-"));
  let run: Run_ | undefined;
  const unhandled = (error: unknown): void =>
    run?.violate("no error goes unhandled", error instanceof Error ? (error.stack ?? error.message) : String(error));
  process.on("unhandledRejection", unhandled);
  try {
    run = new Run_(options, dir);
    await run.faults(options.seconds * 1000);
    if (run.violation === null) await run.calm();
    return run.result(options.seed);
  } finally {
    process.off("unhandledRejection", unhandled);
    rmSync(dir, { recursive: true, force: true });
  }
};
