// Who makes the faults: crashes, pauses, power, partitions of every shape, resets, clocks.
import type { Random } from "#base/random.ts";
import type { SimNet } from "#test-cluster/control-sim/grpc.ts";
import type { SimHost } from "#test-cluster/control-sim/host.ts";
import { SimManager } from "#test-cluster/control-sim/manager.ts";
import type { World } from "#test-cluster/control-sim/world.ts";
import { between, chance, exponential, pick } from "#test-cluster/sim/draw.ts";
import { type Recurring, recurring } from "#test-cluster/sim/recurring.ts";

export type NemesisOptions = {
  readonly world: World;
  readonly net: SimNet;
  readonly random: Random;
  readonly managers: readonly SimManager[];
  readonly hosts: readonly SimHost[];
};

export class Nemesis {
  readonly #o: NemesisOptions;
  readonly #recurring: Recurring;
  readonly #mends = new Set<() => void>();

  constructor(options: NemesisOptions) {
    this.#o = options;
    const { world, random, hosts, net } = options;
    const { mix } = world;
    this.#recurring = recurring(world.time, random);
    const { every } = this.#recurring;
    every(mix.managerCrashEvery, (r) => {
      const manager = this.#manager(r);
      manager?.crash("crashes");
      if (manager) this.#startLater(r, manager, mix.managerDownMs);
    });
    every(mix.managerPauseEvery, (r) => this.#manager(r)?.pause(between(r, 50, 8_000)));
    every(mix.agentCrashEvery, (r) => {
      const host = pick(r, hosts);
      host.crash("crashes");
      this.#startLater(r, host, mix.agentDownMs);
    });
    every(mix.agentPauseEvery, (r) => pick(r, hosts).pause(between(r, 50, 10_000)));
    every(mix.powerOffEvery, (r) => this.#powerOff(r, pick(r, hosts)));
    every(mix.partitionEvery, (r) => this.#partition(r));
    every(mix.resetEvery, (r) => {
      const share = pick(r, [0.05, 0.3, 1]);
      net.reset(() => chance(r, share));
    });
    every(mix.clockJumpEvery, (r) => {
      pick(r, hosts).clockMs += between(r, -1, 1) * 60_000;
    });
  }

  /** Everything works again. */
  end(): void {
    const { managers, hosts, world } = this.#o;
    this.#recurring.end();
    for (const mend of [...this.#mends]) mend();
    for (const host of hosts) host.poweredOff = false;
    for (const it of [...managers, ...hosts]) {
      if (it.alive) it.life!.actor.pausedUntil = Math.min(it.life!.actor.pausedUntil, world.time.now);
      this.#startNow(it);
    }
  }

  /** It has ended for another reason. */
  startLater(it: SimManager | SimHost, ms: number): void {
    this.#o.world.time.after(ms, this.#o.world.time.world, () => this.#startNow(it));
  }

  #startLater(random: Random, it: SimManager | SimHost, meanMs: number): void {
    this.startLater(it, this.#o.world.healed ? 10 : exponential(random, meanMs));
  }

  #startNow(it: SimManager | SimHost): void {
    const host = this.#o.hosts.find(({ name }) => name === ("host" in it ? it.host : it.name))!;
    const isOut = it instanceof SimManager ? it.removed : it.out;
    if (!it.alive && !host.poweredOff && !isOut) it.start();
  }

  #manager(random: Random): SimManager | undefined {
    const alive = this.#o.managers.filter((manager) => manager.alive);
    const leader = alive.find((manager) => manager.leading);
    if (leader !== undefined && chance(random, this.#o.world.mix.aimAtLeader)) return leader;
    return alive.length === 0 ? undefined : pick(random, alive);
  }

  #mendLater(ms: number, mends: readonly (() => void)[]): void {
    const { time } = this.#o.world;
    const mend = () => {
      this.#mends.delete(mend);
      for (const one of mends) one();
    };
    this.#mends.add(mend);
    time.after(ms, time.world, mend);
  }

  #cut(from: readonly string[], to: readonly string[], bothWays: boolean, ms: number): void {
    const { links } = this.#o.world;
    const mends: (() => void)[] = [];
    for (const a of from)
      for (const b of to) {
        if (a === b) continue;
        mends.push(links.cut(a, b));
        if (bothWays) mends.push(links.cut(b, a));
      }
    this.#mendLater(ms, mends);
  }

  #partition(random: Random): void {
    const { world, hosts } = this.#o;
    const names = hosts.map(({ name }) => name);
    const ms = exponential(random, world.mix.partitionMs);
    const one = pick(random, names);
    const bothWays = chance(random, 0.8);
    const side = names.filter(() => chance(random, 0.5));
    const [from, to] = pick(random, [
      [[one], names],
      [[one], [pick(random, names)]],
      [side, names.filter((name) => !side.includes(name))],
      [[this.#o.managers.find((m) => m.leading)?.host ?? one], names],
    ] as const);
    world.note(`cut ${from} ${bothWays ? "-" : ">"} ${to} for ${ms.toFixed(0)} ms`);
    this.#cut(from, to, bothWays, ms);
  }

  /** The others hear nothing more of it until it is back. */
  #powerOff(random: Random, host: SimHost): void {
    const { hosts, managers, world } = this.#o;
    if (host.poweredOff) return;
    const others = hosts.map(({ name }) => name);
    const ms = exponential(random, world.mix.agentDownMs * 2);
    this.#cut([host.name], others, true, ms);
    host.poweredOff = true;
    const manager = managers.find((m) => m.host === host.name);
    manager?.crash("loses power");
    host.losePower();
    world.time.after(ms, world.time.world, () => {
      host.poweredOff = false;
      for (const it of [manager, host]) if (it !== undefined) this.#startNow(it);
    });
  }
}
