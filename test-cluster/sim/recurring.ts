// What happens again and again at random times, until it is told to end.
import type { Random } from "#base/random.ts";
import { exponential, fork } from "#test-cluster/sim/draw.ts";
import type { VirtualTime } from "#test-cluster/sim/virtual-time.ts";

export type Recurring = {
  /** `act` gets draws of its own. A mean of 0 ms is never. */
  every(meanMs: number, act: (random: Random) => void): void;
  end(): void;
};

export const recurring = (time: VirtualTime, seeds: Random): Recurring => {
  let over = false;
  return {
    every: (meanMs, act) => {
      // Forked in any case: a fault that is switched off does not shift the draws of the others.
      const random = fork(seeds);
      if (meanMs === 0) return;
      const again = () => {
        time.after(exponential(random, meanMs), time.world, () => {
          if (over) return;
          act(random);
          again();
        });
      };
      again();
    },
    end: () => {
      over = true;
    },
  };
};
