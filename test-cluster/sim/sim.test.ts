import { expect } from "chai";
import { seededRandom } from "#base/random.ts";
import { mutants } from "#test-cluster/sim/mutants.ts";
import { SimDisk } from "#test-cluster/sim/sim-disk.ts";
import { type Run, simulate } from "#test-cluster/sim/simulate.ts";

const SEEDS = 200;
const SECONDS = 20;
/** Enough for the hardest of the mutants below. */
const MUTANT_SEEDS = 150;
const MUTANT_SECONDS = 10;

const told = ({ violation, seed, lastEvents }: Run): string =>
  violation === null
    ? ""
    : `${violation.property}: ${violation.detail}\nagain: node test-cluster/sim/main.ts --seed ${seed} --seconds ${SECONDS}\n` +
      lastEvents.slice(-25).join("\n");

describe("simulated raft cluster", () => {
  it(`keeps every property over ${SEEDS} seeds of ${SECONDS} s`, async function () {
    this.timeout(300_000);
    const total = { elections: 0, acknowledged: 0 };
    for (let seed = 1; seed <= SEEDS; seed++) {
      const run = await simulate({ seed, seconds: SECONDS });
      expect(told(run)).equal("");
      total.elections += run.elections;
      total.acknowledged += run.acknowledged;
    }
    // Runs in which nothing happens prove nothing.
    expect(total.elections).greaterThan(3 * SEEDS);
    expect(total.acknowledged).greaterThan(100 * SEEDS);
  });

  it("repeats a run to the last byte, and differs between seeds", async () => {
    const first = await simulate({ seed: 42, seconds: 10 });
    const again = await simulate({ seed: 42, seconds: 10 });
    expect(again).deep.equal(first);
    expect((await simulate({ seed: 43, seconds: 10 })).hash).not.equal(first.hash);
  });

  for (const mutant of mutants) {
    it(`finds a member that ${mutant.name}`, async function () {
      this.timeout(120_000);
      const mend = mutant.breakCode?.();
      const { wrapDisk, faults } = mutant;
      const options = { seconds: MUTANT_SECONDS, ...(wrapDisk && { wrapDisk }), ...(faults && { faults }) };
      try {
        for (let seed = 1; seed <= MUTANT_SEEDS; seed++) {
          if ((await simulate({ seed, ...options })).violation !== null) return;
        }
      } finally {
        mend?.();
      }
      expect.fail(`no violation in ${MUTANT_SEEDS} seeds`);
    });
  }
});

describe("simulated disk", () => {
  const mounted = (disk: SimDisk, syncMs: () => number | "fault" = () => 1) =>
    disk.mount({ syncMs, wait: () => Promise.resolve(), beforeChange: () => {} });

  it("keeps what was synced, whatever happens to the rest", async () => {
    let lost = 0;
    let torn = 0;
    for (let seed = 1; seed <= 100; seed++) {
      const disk = new SimDisk(seededRandom(seed));
      const before = mounted(disk);
      before.makeDirectory("/d");
      const file = before.open("/d/a", "create");
      file.write(Buffer.alloc(1000, 1), 0);
      await file.sync();
      before.syncDirectory("/d");
      file.write(Buffer.alloc(3000, 2), 1000);
      before.open("/d/b", "create");
      disk.losePower();
      const bytes = mounted(disk).read("/d/a");
      expect(bytes.subarray(0, 1000)).deep.equal(Buffer.alloc(1000, 1));
      const arrived = bytes.subarray(1000).filter((b) => b === 2).length;
      if (arrived < 3000) lost++;
      if (arrived > 0 && arrived < 3000) torn++;
    }
    expect(lost).greaterThan(50);
    expect(torn).greaterThan(10);
  });

  it("loses names that were not synced, and undoes renames", async () => {
    const kept = new Set<string>();
    for (let seed = 1; seed <= 50; seed++) {
      const disk = new SimDisk(seededRandom(seed));
      const before = mounted(disk);
      before.makeDirectory("/d");
      const file = before.open("/d/a", "create");
      before.syncDirectory("/d");
      file.write(Buffer.from("x"), 0);
      await file.sync();
      before.rename("/d/a", "/d/b");
      before.open("/d/c", "create");
      disk.losePower();
      kept.add(mounted(disk).list("/d").join(" "));
    }
    expect([...kept].sort()).deep.equal(["a", "b", "b c"]);
  });

  it("does not count a failed sync", async () => {
    const disk = new SimDisk(seededRandom(2));
    const before = mounted(disk, () => "fault");
    before.makeDirectory("/d");
    const failed = await before
      .open("/d/a", "create")
      .sync()
      .catch((error: Error) => error.message);
    expect(failed).contain("injected");
  });
});
