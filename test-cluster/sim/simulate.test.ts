import { expect } from "chai";
import { runFleet } from "#test-cluster/sim/fleet.ts";
import { simulate } from "#test-cluster/sim/simulate.ts";

const SEEDS = 1000;
const SECONDS = 60;

describe("simulated raft cluster", () => {
  it(`keeps every property over ${SEEDS} seeds of ${SECONDS} s`, async function () {
    this.timeout(900_000);
    const { totals, failure } = await runFleet({ first: 1, count: SEEDS, seconds: SECONDS, jobs: 2 });
    expect(failure?.text ?? "").equal("");
    // Runs in which nothing happens prove nothing.
    expect(totals.elections).greaterThan(5 * SEEDS);
    expect(totals.acknowledged).greaterThan(200 * SEEDS);
    expect(totals.checked).greaterThan(200 * SEEDS);
    expect(totals.lost).greaterThan(10);
  });

  it("repeats a run to the last byte, and differs between seeds", async () => {
    const lines = async (seed: number) => {
      const all: string[] = [];
      const run = await simulate({ seed, seconds: 20, onLine: (line) => all.push(line) });
      return { run, text: all.join("\n") };
    };
    const first = await lines(16);
    expect(first.text.length).greaterThan(10_000);
    expect(await lines(16)).deep.equal(first);
    expect((await simulate({ seed: 16, seconds: 20 })).hash).equal(first.run.hash);
    expect((await simulate({ seed: 17, seconds: 20 })).hash).not.equal(first.run.hash);
  });
});
