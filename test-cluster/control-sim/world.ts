// What all parts of one run share.
import type { Clock } from "#base/clock.ts";
import { type Fields, type Logger, silentLogger } from "#base/log.ts";
import type { Random } from "#base/random.ts";
import type { FaultMix } from "#test-cluster/control-sim/fault-mix.ts";
import type { Links } from "#test-cluster/control-sim/links.ts";
import type { Trace } from "#test-cluster/sim/trace.ts";
import type { Actor, VirtualTime } from "#test-cluster/sim/virtual-time.ts";

export type World = {
  readonly time: VirtualTime;
  readonly trace: Trace;
  /** For lives and hosts: fork it. */
  readonly random: Random;
  readonly mix: FaultMix;
  readonly links: Links;
  /** No more faults. */
  healed: boolean;
  violate(property: string, detail: string): void;
  note(text: string): void;
};

/** The wall clock at the beginning of every run. */
export const EPOCH = 1_700_000_000_000;

/** Shorter ones would not move the clock, whose numbers have an end. */
const SHORTEST_TIMER_MS = 0.05;

export const newActor = (name: string): Actor => ({ name, dead: false, pausedUntil: 0 });

/** A clock that runs while the actor lives; `skewMs` is added to its wall clock. */
export const clockOf = ({ time }: World, actor: Actor, skewMs: () => number): Clock => ({
  now: () => Math.round(EPOCH + time.now + skewMs()),
  monotonic: () => time.now,
  after: (ms, callback) => time.after(Math.max(ms, SHORTEST_TIMER_MS), actor, callback),
});

/** Warnings and errors become part of the trace, by their constant text; these texts break a promise of the code. */
const NEVER_SAID = new Set(["task loop failed"]);

export const loggerOf = (world: World, actor: Actor): Logger => {
  const say = (message: string, fields: Fields | undefined): void => {
    if (actor.dead) return;
    world.note(`${actor.name} says: ${message}`);
    if (NEVER_SAID.has(message)) world.violate("no loop ends by itself", `${actor.name}: ${JSON.stringify(fields)}`);
  };
  const logger: Logger = { ...silentLogger, warn: say, error: say, with: () => logger };
  return logger;
};
