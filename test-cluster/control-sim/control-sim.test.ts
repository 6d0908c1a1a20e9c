import { execFile } from "node:child_process";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect } from "chai";
import { isStale, MUTANTS } from "#test-cluster/control-sim/mutants.ts";

const MAIN = join(import.meta.dirname, "main.ts");
const SECONDS = 40;
const SEEDS = 60;
/** Enough for the hardest of the mutants. */
const MUTANT_SEEDS = 30;

type Outcome = { readonly found: boolean; readonly text: string };

/** One process for each: faults are planted while the code is loaded. */
const simulate = async (...args: string[]): Promise<Outcome> => {
  const all = [MAIN, "--seconds", String(SECONDS), ...args];
  try {
    const { stdout } = await promisify(execFile)(process.execPath, all, { maxBuffer: 64 << 20 });
    return { found: false, text: stdout };
  } catch (error) {
    const { stdout = "", stderr = "" } = error as { stdout?: string; stderr?: string };
    return { found: stdout.includes("\nVIOLATED "), text: stdout + stderr };
  }
};

/** As many at once as there are processors. */
const inParallel = async <T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> => {
  const waiting = [...items];
  const lane = async (): Promise<void> => {
    for (let item = waiting.shift(); item !== undefined; item = waiting.shift()) await work(item);
  };
  await Promise.all(Array.from({ length: Math.max(availableParallelism(), 2) }, lane));
};

describe("simulated control plane", function () {
  this.timeout(600_000);

  it(`keeps every property, and reaches what is wanted, over ${SEEDS} seeds`, async () => {
    const total = { commits: 0, acknowledged: 0, refused: 0, containers: 0, views: 0, roles: 0 };
    await inParallel([1, 2], async (first) => {
      const { text } = await simulate("--first", String(first), "--step", "2", "--seeds", String(SEEDS / 2));
      const counted =
        / (\d+) commits, (\d+) acknowledged, (\d+) refused, (\d+) containers, (\d+) views compared, (\d+) managers/.exec(
          text,
        );
      expect(text).not.to.contain("VIOLATED");
      const [commits = 0, acknowledged = 0, refused = 0, containers = 0, views = 0, roles = 0] = counted!
        .slice(1)
        .map(Number);
      total.commits += commits;
      total.acknowledged += acknowledged;
      total.refused += refused;
      total.containers += containers;
      total.views += views;
      total.roles += roles;
    });
    // Runs in which nothing happens prove nothing.
    expect(total.commits).greaterThan(100 * SEEDS);
    expect(total.acknowledged).greaterThan(15 * SEEDS);
    expect(total.refused).greaterThan(10 * SEEDS);
    expect(total.containers).greaterThan(12 * SEEDS);
    expect(total.views).greaterThan(200 * SEEDS);
    expect(total.roles).greaterThan(SEEDS);
  });

  it("repeats a run to the last byte, and differs between seeds", async () => {
    const traceOf = async (seed: number) => /^trace (\w+)$/m.exec((await simulate("--seed", String(seed))).text)?.[1];
    const [first, again, other] = await Promise.all([traceOf(3), traceOf(3), traceOf(4)]);
    expect(first).to.match(/^\w{16}$/);
    expect(again).to.equal(first);
    expect(other).not.to.equal(first);
  });

  it(`finds each of ${MUTANTS.length} deliberate faults`, async () => {
    expect(MUTANTS.filter(isStale).map(({ name }) => name)).to.deep.equal([]);
    const missed: string[] = [];
    await inParallel(MUTANTS, async ({ name }) => {
      const { found, text } = await simulate("--seeds", String(MUTANT_SEEDS), "--mutant", name);
      if (!found) missed.push(`${name}: ${text.slice(-300)}`);
    });
    expect(missed).to.deep.equal([]);
  });
});
