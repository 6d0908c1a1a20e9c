import { expect } from "chai";
import type { Clock } from "#base/clock.ts";
import { silentLogger } from "#base/log.ts";
import { keepRenewed, type Validity } from "#node-agent/local/certificate-renewal.ts";

const DAY = 24 * 3_600_000;

/** Goes from timer to timer; timers longer than Node's are a mistake. */
const createClock = () => {
  let now = 0;
  let timers: { at: number; callback: () => void }[] = [];
  const clock: Clock = {
    now: () => now,
    monotonic: () => now,
    after(ms, callback) {
      expect(ms).to.be.within(0, 2 ** 31 - 1);
      const timer = { at: now + ms, callback };
      timers.push(timer);
      return () => {
        timers = timers.filter((t) => t !== timer);
      };
    },
  };
  const until = async (at: number): Promise<void> => {
    for (;;) {
      const next = timers.filter((t) => t.at <= at).sort((a, b) => a.at - b.at)[0];
      if (!next) break;
      timers = timers.filter((t) => t !== next);
      now = Math.max(now, next.at);
      next.callback();
      await new Promise<void>((resolve) => setImmediate(resolve));
    }
    now = at;
  };
  return { clock, until, pending: () => timers.length };
};

describe("certificate renewal", () => {
  const run = (float: number, renew: (now: number) => Validity) => {
    const { clock, until, pending } = createClock();
    const at: number[] = [];
    const stop = keepRenewed(
      { issuedAt: 0, notAfter: 90 * DAY },
      {
        clock,
        logger: silentLogger,
        random: { float: () => float, int: () => 0 },
        async renew() {
          at.push(clock.now());
          return renew(clock.now());
        },
      },
    );
    return { at, until, pending, stop };
  };
  const ninetyDays = (now: number): Validity => ({ issuedAt: now, notAfter: now + 90 * DAY });

  for (const [float, days] of [
    [0, 45],
    [0.5, 58.5],
    [0.999, 71.973],
  ] as const)
    it(`is due after ${days} of 90 days, and again after as many`, async () => {
      const { at, until } = run(float, ninetyDays);
      await until(89 * DAY);
      expect(at[0]! / DAY).to.be.closeTo(days, 0.01);
      await until(179 * DAY);
      expect(at[1]! / DAY).to.be.closeTo(2 * days, 0.02);
    });

  it("tries again while nobody answers, more often as the end comes near", async () => {
    const { at, until } = run(0.5, (now) => {
      if (now < 89.9 * DAY) throw new Error("no manager");
      return ninetyDays(now);
    });
    await until(90 * DAY);
    const gaps = at.slice(1).map((t, i) => t - at[i]!);
    expect(Math.max(...gaps)).to.be.at.most(DAY);
    expect(gaps.at(-1)!).to.be.below(gaps[0]!);
    expect(at.at(-1)!).to.be.within(89.9 * DAY, 90 * DAY);
  });

  it("does not hurry when it gets certificates that are already old", async () => {
    const { at, until } = run(0, (now) => ({ issuedAt: now - 10 * DAY, notAfter: now + DAY }));
    await until(45 * DAY + 10_000);
    expect(at.length).to.be.within(2, 11);
  });

  it("does nothing once it is stopped", async () => {
    const { at, until, pending, stop } = run(0, ninetyDays);
    stop();
    expect(pending()).to.equal(0);
    await until(200 * DAY);
    expect(at).to.deep.equal([]);
  });
});
