import { expect } from "chai";
import { newId } from "#base/ids.ts";
import { seededRandom } from "#base/random.ts";

describe("seeded random", () => {
  it("repeats for a seed, differs between neighbours", () => {
    const draw = (seed: number) => Array.from({ length: 50 }, (_, __, r = seededRandom(seed)) => r.int(1e9))[0];
    expect(draw(7)).to.equal(draw(7));
    expect(new Set(Array.from({ length: 1000 }, (_, seed) => draw(seed))).size).to.be.greaterThan(995);
  });

  it("has no short cycle: 100,000 ids are different", () => {
    for (const seed of [0, 1, 2, 12345, 0xffffffff]) {
      const random = seededRandom(seed);
      expect(new Set(Array.from({ length: 100_000 }, () => newId(random))).size).to.equal(100_000);
    }
  });

  it("is even", () => {
    const random = seededRandom(3);
    const buckets = new Array<number>(10).fill(0);
    for (let i = 0; i < 100_000; i++) buckets[random.int(10)]!++;
    for (const count of buckets) expect(count).to.be.within(9_500, 10_500);
  });
});
