import { expect } from "chai";
import { silentLogger } from "#base/log.ts";
import { NodeDescription } from "#proto/gen/types.ts";
import { watchDescription } from "./description-changes.ts";

describe("changes of what a node says about itself", () => {
  it("are told within a minute, and only when there are some", () => {
    const timers: { at: number; run: () => void }[] = [];
    let now = 0;
    const clock = {
      now: () => now,
      monotonic: () => now,
      after: (ms: number, run: () => void) => {
        const timer = { at: now + ms, run };
        timers.push(timer);
        return () => void timers.splice(timers.indexOf(timer), 1);
      },
    };
    const pass = (ms: number): void => {
      now += ms;
      for (const timer of timers.filter((t) => t.at <= now)) {
        timers.splice(timers.indexOf(timer), 1);
        timer.run();
      }
    };
    let port = 80;
    let told = 0;
    const watched = watchDescription({
      clock,
      logger: silentLogger,
      describe: () => NodeDescription.fromPartial({ hostPorts: [{ port }] }),
      onChange: () => {
        told++;
        watched.description();
      },
    });
    watched.description();
    pass(60_000);
    expect(told).to.equal(0);
    port = 81;
    pass(60_000);
    expect(told).to.equal(1);
    pass(60_000);
    expect(told).to.equal(1);
    watched.stop();
    expect(timers).to.deep.equal([]);
  });
});
