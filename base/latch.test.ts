import { expect } from "chai";
import { createLatch } from "#base/latch.ts";

describe("latch", () => {
  it("lets values through until it opens", async () => {
    const latch = createLatch();
    expect(await latch.orOpen(Promise.resolve(1))).to.equal(1);
    const waiting = latch.orOpen(new Promise<number>(() => {}));
    latch.open();
    expect(await waiting).to.equal(undefined);
    expect(await latch.orOpen(new Promise<number>(() => {}))).to.equal(undefined);
    expect(latch.isOpen()).to.equal(true);
  });

  it("passes failures on; one after it opened is nobody's", async () => {
    const latch = createLatch();
    const error = await latch.orOpen(Promise.reject(new Error("no"))).catch((e: Error) => e.message);
    expect(error).to.equal("no");
    latch.open();
    expect(await latch.orOpen(Promise.reject(new Error("late")))).to.equal(undefined);
  });
});
