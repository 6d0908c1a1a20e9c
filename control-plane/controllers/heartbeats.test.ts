import { expect } from "chai";
import { createHeartbeats } from "./heartbeats.ts";
import { createManualClock } from "./manual-clock.ts";

const setup = () => {
  const clock = createManualClock();
  let stoodStill = 0;
  const down: string[] = [];
  const silences: number[] = [];
  const heartbeats = createHeartbeats({
    clock: { ...clock, monotonic: () => clock.monotonic() + stoodStill },
    periodMs: () => 1000,
    onSilent: (nodeId, silentMs) => {
      down.push(nodeId);
      silences.push(silentMs);
    },
  });
  /** This process is stopped for so long, and none of its timers fires. */
  const standStill = (ms: number) => {
    stoodStill += ms;
  };
  return { clock, down, silences, heartbeats, standStill };
};

describe("heartbeats", () => {
  it("reports a node once after three silent periods, and again only after it came back", async () => {
    const { clock, down, silences, heartbeats } = setup();
    heartbeats.beat("n1");
    heartbeats.beat("n2");
    await clock.pass(2000);
    heartbeats.beat("n2");
    await clock.pass(999);
    expect(down).to.deep.equal([]);
    await clock.pass(1);
    expect(down).to.deep.equal(["n1"]);
    expect(silences).to.deep.equal([3000]);
    await clock.pass(10_000);
    expect(down).to.deep.equal(["n1", "n2"]);
    heartbeats.beat("n1");
    await clock.pass(3000);
    expect(down).to.deep.equal(["n1", "n2", "n1"]);
  });

  it("never reports a node that beats in time", async () => {
    const { clock, down, heartbeats } = setup();
    for (let i = 0; i < 50; i++) {
      heartbeats.beat("n1");
      await clock.pass(2900);
    }
    expect(down).to.deep.equal([]);
  });

  it("after a change of leader gives nodes the usual time, the former leader's host less, until they show up", async () => {
    const { clock, down, heartbeats } = setup();
    heartbeats.beat("n1");
    await clock.pass(500);
    heartbeats.expect(["n1", "n2", "n3", "n4", "n5"], "n4");
    await clock.pass(1999);
    heartbeats.beat("n3");
    expect(down).to.deep.equal([]);
    await clock.pass(1);
    expect(down).to.deep.equal(["n4"]);
    await clock.pass(500);
    expect(down).to.deep.equal(["n4", "n1"]);
    await clock.pass(500);
    expect(down).to.deep.equal(["n4", "n1", "n2", "n5"]);
    await clock.pass(2000);
    expect(down).to.deep.equal(["n4", "n1", "n2", "n5", "n3"]);
  });

  it("a former leader's host that shows up counts like the others from then on", async () => {
    const { clock, down, heartbeats } = setup();
    heartbeats.expect(["n1", "n2"], "n1");
    await clock.pass(1900);
    heartbeats.beat("n1");
    await clock.pass(1100);
    expect(down).to.deep.equal(["n2"]);
    await clock.pass(1899);
    expect(down).to.deep.equal(["n2"]);
    await clock.pass(1);
    expect(down).to.deep.equal(["n2", "n1"]);
  });

  it("is more patient when nobody has led since this manager started", async () => {
    const { clock, down, heartbeats } = setup();
    heartbeats.expect(["n1"], undefined);
    await clock.pass(5999);
    expect(down).to.deep.equal([]);
    await clock.pass(1);
    expect(down).to.deep.equal(["n1"]);
    heartbeats.expect(["n2"], "");
    await clock.pass(3000);
    expect(down).to.deep.equal(["n1", "n2"]);
  });

  it("takes no silence for death while it stood still itself", async () => {
    const { clock, down, silences, heartbeats, standStill } = setup();
    heartbeats.beat("n1");
    heartbeats.beat("n2");
    standStill(17_000);
    await clock.pass(3000);
    expect(down).to.deep.equal([]);
    heartbeats.beat("n1");
    await clock.pass(999);
    expect(down).to.deep.equal([]);
    await clock.pass(1);
    expect(down).to.deep.equal(["n2"]);
    expect(silences).to.deep.equal([21_000]);
    await clock.pass(2000);
    expect(down).to.deep.equal(["n2", "n1"]);
  });

  it("bears with a timer that is a little late", async () => {
    const { clock, down, heartbeats, standStill } = setup();
    heartbeats.beat("n1");
    standStill(200);
    await clock.pass(3000);
    expect(down).to.deep.equal(["n1"]);
  });

  it("is silent about forgotten nodes and after stop", async () => {
    const { clock, down, heartbeats } = setup();
    heartbeats.beat("n1");
    heartbeats.beat("n2");
    heartbeats.forget("n1");
    await clock.pass(5000);
    expect(down).to.deep.equal(["n2"]);
    heartbeats.beat("n2");
    heartbeats.stop();
    await clock.pass(5000);
    expect(down).to.deep.equal(["n2"]);
  });
});
