// One run: a cluster under the faults that its seed draws, then healed. Everything random comes from the seed, so the same
// seed gives the same run, to the last byte of its trace.
import { type Random, seededRandom } from "#base/random.ts";
import type { Disk } from "#control-plane/raft-host/disk.ts";
import type { Peer } from "#control-plane/raft-host/peers.ts";
import { Clients } from "#test-cluster/sim/clients.ts";
import { exponential, fork } from "#test-cluster/sim/draw.ts";
import { drawFaultMix, type FaultMix } from "#test-cluster/sim/fault-mix.ts";
import { Histories } from "#test-cluster/sim/histories.ts";
import { LogChecks } from "#test-cluster/sim/log-checks.ts";
import { type Life, SimMember } from "#test-cluster/sim/member.ts";
import { Nemesis } from "#test-cluster/sim/nemesis.ts";
import { Network } from "#test-cluster/sim/network.ts";
import { observeCores } from "#test-cluster/sim/observe-cores.ts";
import { Operators } from "#test-cluster/sim/operators.ts";
import { useQuickCipher } from "#test-cluster/sim/quick-cipher.ts";
import { StateChecks } from "#test-cluster/sim/state-checks.ts";
import { Trace } from "#test-cluster/sim/trace.ts";
import { type Actor, VirtualTime } from "#test-cluster/sim/virtual-time.ts";

/** `stack`: of the error that ended a member. */
export type Violation = { readonly property: string; readonly detail: string; readonly stack?: string | undefined };

export type Run = {
  readonly seed: number;
  readonly violation: Violation | null;
  readonly mix: FaultMix;
  /** Of all that happened; equal for equal seeds. */
  readonly hash: string;
  readonly simulatedMs: number;
  readonly lastEvents: readonly string[];
  readonly events: number;
  readonly elections: number;
  readonly commits: number;
  readonly acknowledged: number;
  /** Operations in the checked histories. */
  readonly checked: number;
  /** Members that refused their damaged disk. */
  readonly lost: number;
};

export type RunOptions = {
  readonly seed: number;
  /** Simulated, of the phase with faults. */
  readonly seconds: number;
  /** In place of what the seed draws. */
  readonly faults?: Partial<FaultMix>;
  readonly wrapDisk?: (disk: Disk) => Disk;
  /** Errors carry where they come from. Slow: raft refuses much, and each refusal would look for its place. */
  readonly stacks?: boolean;
  /** Gets the whole trace as text. */
  readonly onLine?: (line: string) => void;
};

/** After healing, a cluster must work within this many of the longest election timeouts. */
const HEAL_TIMEOUTS = 10;

class Cluster {
  readonly time = new VirtualTime();
  readonly trace: Trace;
  readonly members = new Map<number, SimMember>();
  readonly mix: FaultMix;
  readonly logs: LogChecks;
  readonly states: StateChecks;
  readonly network: Network;
  readonly histories = new Histories();
  readonly clients: Clients;
  readonly operators: Operators;
  readonly nemesis: Nemesis;
  violation: Run["violation"] = null;
  healed = false;
  #random: Random;
  #restarts: Random;
  #wrapDisk: (disk: Disk) => Disk;

  constructor({ seed, faults, wrapDisk, onLine }: RunOptions) {
    this.trace = new Trace(onLine);
    const random = seededRandom(seed);
    this.#random = random;
    this.#restarts = fork(random);
    this.#wrapDisk = wrapDisk ?? ((disk) => disk);
    this.mix = { ...drawFaultMix(fork(random)), ...faults };
    const { time, trace, mix, members } = this;
    this.logs = new LogChecks(this.violate, (raftId) => {
      const life = members.get(raftId)?.life;
      return life?.dead === false ? (life.core ?? undefined) : undefined;
    });
    this.states = new StateChecks(this.violate, (operation, done) => this.histories.applied(operation, done));
    const shared = { time, trace, mix, members };
    this.network = new Network({ ...shared, random: fork(random), onSend: (life, m) => this.logs.sent(life, m) });
    const peers: Peer[] = Array.from({ length: mix.members }, (_, i) => ({
      ...{ raftId: i + 1, nodeId: `node-${i + 1}`, addr: `node-${i + 1}` },
    }));
    for (const { raftId, nodeId } of peers) this.#addMember(raftId, nodeId, { kind: "bootstrap", members: peers });
    this.nemesis = new Nemesis({ ...shared, random: fork(random), network: this.network });
    const { histories, states: checks } = this;
    this.clients = new Clients({ time, mix, members, random: fork(random), checks, histories });
    this.operators = new Operators({
      ...{ time, mix, members, random: fork(random) },
      addMember: (raftId, nodeId, known) => {
        if (!members.has(raftId)) this.#addMember(raftId, nodeId, { kind: "join", peers: known });
      },
    });
  }

  violate = (property: string, detail: string, stack?: string): void => {
    if (this.violation !== null) return;
    this.violation = { property, detail, stack };
    this.trace.note(this.time.now, `VIOLATED ${property}: ${detail}`);
  };

  #addMember(raftId: number, nodeId: string, beginning: ConstructorParameters<typeof SimMember>[2]): void {
    const { time, trace, mix } = this;
    const member = new SimMember(raftId, nodeId, beginning, {
      ...{
        time,
        trace,
        mix,
        random: this.#random,
        watch: this.states,
        violate: this.violate,
        wrapDisk: this.#wrapDisk,
      },
      transport: (life) => this.network.transport(life),
      onCore: (life, core) => {
        Object.assign(core.config, mix.limits);
        this.logs.began(life, core);
      },
      onDead: (dead) => {
        this.network.broken(dead.raftId);
        this.#restartLater(dead);
      },
    });
    this.members.set(raftId, member);
    if (this.healed) member.heal();
    member.start();
  }

  #restartLater(member: SimMember): void {
    const ms = this.healed ? 10 : exponential(this.#restarts, this.mix.downMs);
    this.time.after(ms, this.time.world, () => {
      if (!member.alive && !member.removed && !member.lost) member.start();
    });
  }

  #step = (actor: Actor): boolean => {
    const life = actor as Life;
    if (actor !== this.time.world && life.core !== null && !life.dead) {
      this.logs.look(life, life.core);
      life.member.endOfEvent();
    }
    return this.violation !== null;
  };

  async safetyPhase(ms: number): Promise<void> {
    await this.time.run(ms, this.#step);
  }

  heal(): void {
    this.trace.note(this.time.now, "everything heals");
    this.healed = true;
    this.nemesis.end();
    this.clients.end();
    this.operators.end();
    this.network.heal();
    for (const member of this.members.values()) {
      member.heal();
      if (!member.alive && !member.removed && !member.lost) member.start();
    }
  }

  /** All members that belong to the cluster take a new proposal, agree on the state and answer reads, in bounded time. */
  async livenessPhase(): Promise<void> {
    const { tickMs, electionTicks } = this.mix;
    const begin = this.time.now;
    const end = begin + HEAL_TIMEOUTS * 2 * electionTicks * tickMs;
    let written = false;
    while (this.violation === null && this.time.now < end) {
      const leader = this.#leader();
      if (leader !== undefined) {
        void this.clients.propose(leader, this.#random).then((done) => {
          written ||= done;
        });
      }
      await this.time.run(this.time.now + 2 * tickMs, this.#step);
      if (!written || !(await this.#agree())) continue;
      if (await this.#allRead()) return;
    }
    if (this.violation === null) this.violate("a healed cluster works", this.#describe());
  }

  #leader(): Life | undefined {
    return this.#lives().find((life) => life.core?.role === "leader" && life.log !== null);
  }

  #lives(): Life[] {
    return [...this.members.values()].flatMap((m) => (m.alive ? [m.life!] : []));
  }

  /** Those that the leader counts as members and that have a process. */
  #belonging(): Life[] {
    const conf = this.#leader()?.core?.conf;
    return this.#lives().filter(
      ({ member: { raftId } }) => conf?.voters.includes(raftId) || conf?.learners.includes(raftId),
    );
  }

  async #agree(): Promise<boolean> {
    await this.time.run(this.time.now + 4 * this.mix.tickMs, this.#step);
    const lives = this.#belonging();
    const last = lives[0]?.state;
    return lives.every(
      ({ state }) =>
        state.index >= this.states.lastAcknowledged && state.index === last?.index && state.hash === last.hash,
    );
  }

  async #allRead(): Promise<boolean> {
    let passed = 0;
    const lives = this.#belonging().filter((life) => life.log !== null);
    for (const life of lives) {
      void this.clients.read(life).then((how) => {
        if (how === "done") passed++;
      });
    }
    await this.time.run(this.time.now + 4 * this.mix.tickMs, this.#step);
    return passed === lives.length;
  }

  #describe(): string {
    return this.#lives()
      .map(({ name, core, state, log }) => {
        if (core === null || log === null) return `${name}: not open`;
        const { role, term, leader } = core;
        return `${name}: ${role} of term ${term}, leader ${leader}, log ${core.log.firstIndex}..${core.log.lastIndex}, commit ${core.log.committed}, state ${state.index}, voters ${core.conf.voters}`;
      })
      .join("; ");
  }
}

export const simulate = async (options: RunOptions): Promise<Run> => {
  const cluster = new Cluster(options);
  const { time, trace, logs, states, mix } = cluster;
  const { stackTraceLimit } = Error;
  if (!options.stacks) Error.stackTraceLimit = 0;
  const useRealCipher = mix.realCipher ? () => {} : useQuickCipher();
  const stopObserving = observeCores((core) => cluster.members.get(core.id)!.onCore(core));
  try {
    await cluster.safetyPhase(options.seconds * 1000);
    if (cluster.violation === null) {
      cluster.heal();
      await cluster.livenessPhase();
    }
    if (cluster.violation === null) cluster.histories.check(cluster.violate);
  } finally {
    stopObserving();
    useRealCipher();
    Error.stackTraceLimit = stackTraceLimit;
  }
  const lastEvents = trace.last(80);
  return {
    ...{
      seed: options.seed,
      violation: cluster.violation,
      mix,
      simulatedMs: time.now,
      lastEvents,
      events: trace.count,
    },
    ...{ elections: logs.elections, commits: logs.commits, acknowledged: states.acknowledged, hash: trace.digest() },
    ...{ checked: cluster.histories.length, lost: [...cluster.members.values()].filter((m) => m.lost).length },
  };
};
