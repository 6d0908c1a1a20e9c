// What goes wrong over time. Each kind of fault has its own stream of random draws.
import type { Random } from "#base/random.ts";
import { between, chance, exponential, fork, pick } from "#test-cluster/sim/draw.ts";
import type { FaultMix } from "#test-cluster/sim/fault-mix.ts";
import type { SimMember } from "#test-cluster/sim/member.ts";
import type { Network } from "#test-cluster/sim/network.ts";
import { cutBy, PARTITIONS } from "#test-cluster/sim/partitions.ts";
import { type Recurring, recurring } from "#test-cluster/sim/recurring.ts";
import type { Trace } from "#test-cluster/sim/trace.ts";
import type { VirtualTime } from "#test-cluster/sim/virtual-time.ts";

export type NemesisOptions = {
  readonly time: VirtualTime;
  readonly trace: Trace;
  readonly random: Random;
  readonly mix: FaultMix;
  readonly members: ReadonlyMap<number, SimMember>;
  readonly network: Network;
};

export class Nemesis {
  #o: NemesisOptions;
  #recurring: Recurring;

  constructor(options: NemesisOptions) {
    this.#o = options;
    const { mix, time, members } = options;
    this.#recurring = recurring(time, options.random);
    this.#recurring.every(mix.partitionEvery, (random) => this.#partition(random));
    this.#recurring.every(mix.crashEvery, (random) => this.#crash(random));
    this.#recurring.every(mix.pauseEvery, (random) => this.#victim(random)?.pause(exponential(random, mix.faultMs)));
    this.#recurring.every(mix.hangUpEvery, (random) => {
      const victim = this.#victim(random);
      if (victim !== undefined) options.network.hangUp(victim.raftId);
    });
    const random = fork(options.random);
    for (const member of mix.crashAtStart ? members.values() : []) member.crashAfterSteps(random.int(40));
    this.#recurring.every(mix.diskFaultEvery, (random) => this.#victim(random)?.failNextSync());
    this.#recurring.every(mix.fullEvery, (random) =>
      this.#victim(random)?.fillDisk(exponential(random, 2 * mix.faultMs)),
    );
    this.#recurring.every(mix.keyEvery, (random) => this.#victim(random)?.rotateKey());
    this.#recurring.every(mix.clockEvery, (random) => this.#victim(random)?.changeClock(random));
    // Only one of the first members ever loses data, so that a majority always has everything.
    const rotting = 1 + random.int(mix.members);
    this.#recurring.every(mix.members < 3 ? 0 : mix.rotEvery, (random) => members.get(rotting)?.rot(random));
  }

  end(): void {
    this.#recurring.end();
  }

  #victim(random: Random): SimMember | undefined {
    const alive = [...this.#o.members.values()].filter((m) => m.alive);
    const leader = alive.find((m) => m.life!.core?.role === "leader");
    if (chance(random, this.#o.mix.aimAtLeader) && leader !== undefined) return leader;
    return alive.length === 0 ? undefined : pick(random, alive);
  }

  /** At once, or at one of the next steps. The restart is `Cluster`'s, after `downMs`. */
  #crash(random: Random): void {
    const victim = this.#victim(random);
    if (chance(random, 0.6)) victim?.crashAfterSteps(random.int(60));
    else victim?.crash("crashes");
    // A power failure takes everybody.
    if (chance(random, 0.05)) for (const m of this.#o.members.values()) m.crash("crashes with all others");
  }

  #partition(random: Random): void {
    const { time, trace, network, mix, members } = this.#o;
    const ids = [...members.values()].filter((m) => !m.removed).map((m) => m.raftId);
    const victim = this.#victim(random)?.raftId ?? ids[0]!;
    const kind = pick(random, PARTITIONS);
    const isCut = cutBy(kind, ids, victim, random);
    const ms = exponential(random, mix.faultMs) * between(random, 0.5, 1.5);
    trace.note(time.now, `partition ${kind} around ${victim} for ${ms.toFixed(0)} ms`);
    const mend: (() => void)[] = [];
    for (const from of ids) {
      for (const to of ids) if (from !== to && isCut(from, to)) mend.push(network.cut(from, to));
    }
    time.after(ms, time.world, () => {
      for (const undo of mend) undo();
    });
  }
}
