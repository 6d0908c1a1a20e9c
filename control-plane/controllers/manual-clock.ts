// For tests: time passes only when told to.
import type { Clock } from "#base/clock.ts";

export type ManualClock = Clock & {
  /** Runs all timers that are due within `ms`, in order, and lets promises settle after each. */
  pass(ms: number): Promise<void>;
};

export const createManualClock = (start = 1_000_000): ManualClock => {
  let now = start;
  const timers = new Set<{ readonly at: number; readonly callback: () => void }>();
  const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
  return {
    now: () => now,
    monotonic: () => now,
    after: (ms, callback) => {
      const timer = { at: now + ms, callback };
      timers.add(timer);
      return () => timers.delete(timer);
    },
    pass: async (ms) => {
      const until = now + ms;
      await settle();
      for (;;) {
        const [next] = [...timers].filter((timer) => timer.at <= until).sort((a, b) => a.at - b.at);
        if (next === undefined) break;
        timers.delete(next);
        now = Math.max(now, next.at);
        next.callback();
        await settle();
      }
      now = until;
    },
  };
};
