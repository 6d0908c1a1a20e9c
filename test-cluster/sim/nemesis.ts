// What goes wrong over time. Each kind of fault has its own stream of random draws.
import type { Random } from "#base/random.ts";
import { between, chance, exponential, fork, pick } from "#test-cluster/sim/draw.ts";
import type { FaultMix } from "#test-cluster/sim/fault-mix.ts";
import type { SimMember } from "#test-cluster/sim/member.ts";
import type { Network } from "#test-cluster/sim/network.ts";
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
    const { mix, time } = options;
    this.#recurring = recurring(time, options.random);
    this.#recurring.every(mix.partitionEvery, (random) => this.#partition(random));
    this.#recurring.every(mix.crashEvery, (random) => this.#crash(random));
    this.#recurring.every(mix.pauseEvery, (random) => this.#victim(random)?.pause(exponential(random, mix.faultMs)));
    const random = fork(options.random);
    for (const member of mix.crashAtStart ? options.members.values() : [])
      member.crashAfterDiskOperations(random.int(15));
    this.#recurring.every(mix.diskFaultEvery, (random) => this.#victim(random)?.failNextSync());
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

  /** At once, or in the middle of one of the next disk operations. The restart is `Cluster`'s, after `downMs`. */
  #crash(random: Random): void {
    const victim = this.#victim(random);
    if (chance(random, 0.5)) victim?.crashAfterDiskOperations(random.int(12));
    else victim?.crash("crashes");
    // A power failure takes everybody.
    if (chance(random, 0.05)) for (const m of this.#o.members.values()) m.crash("crashes with all others");
  }

  #partition(random: Random): void {
    const { time, trace, network, mix, members } = this.#o;
    const ids = [...members.keys()];
    const victim = this.#victim(random)?.raftId ?? ids[0]!;
    const kind = pick(random, ["isolate", "halves", "deaf", "mute", "link", "bridge"] as const);
    const inFirst = new Set(ids.filter((id) => id === victim || chance(random, 0.4)));
    const other = pick(random, ids);
    const isCut = (from: number, to: number): boolean => {
      switch (kind) {
        case "isolate":
          return from === victim || to === victim;
        case "halves":
          return inFirst.has(from) !== inFirst.has(to);
        case "deaf":
          return to === victim;
        case "mute":
          return from === victim;
        case "link":
          return (from === victim && to === other) || (from === other && to === victim);
        case "bridge":
          // The victim reaches all, the others only it.
          return from !== victim && to !== victim;
      }
    };
    const ms = exponential(random, mix.faultMs) * between(random, 0.5, 1.5);
    trace.note(time.now, `partition ${kind} around ${victim} for ${ms.toFixed(0)} ms`);
    for (const from of ids) {
      for (const to of ids) {
        if (from !== to && isCut(from, to)) time.after(ms, time.world, network.cut(from, to));
      }
    }
  }
}
