import { expect } from "chai";
import { seededRandom } from "#base/random.ts";
import { newUnlockKey, parseUnlockKey } from "#base/unlock-key.ts";

describe("unlock key", () => {
  it("holds 32 bytes, and is read as it was written", () => {
    const random = seededRandom(3);
    const made = Array.from({ length: 200 }, () => newUnlockKey(random));
    for (const key of made) {
      expect(parseUnlockKey(` ${key}\n`)).to.equal(key);
      const bytes = Buffer.from(key.slice("TSWKEY-1-".length), "base64url");
      expect(bytes).to.have.length(32);
      expect(bytes.toString("base64url")).to.equal(key.slice("TSWKEY-1-".length));
    }
    expect(new Set(made).size).to.equal(200);
  });

  for (const wrong of [
    "",
    "TSWKEY-1-",
    `SWMKEY-1-${"A".repeat(43)}`,
    `TSWKEY-1-${"A".repeat(42)}`,
    `TSWKEY-1-${"B".repeat(43)}`,
  ])
    it(`refuses "${wrong}"`, () => {
      expect(() => parseUnlockKey(wrong))
        .to.throw()
        .with.property("code", "invalid");
    });
});
