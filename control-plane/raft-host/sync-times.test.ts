import { expect } from "chai";
import { SyncTimes } from "#control-plane/raft-host/sync-times.ts";

describe("times of syncs", () => {
  it("are unknown before the first", () => expect(new SyncTimes().summary).to.equal(null));

  it("count the last 1,000", () => {
    const times = new SyncTimes();
    for (let i = 0; i < 5000; i++) times.add(900);
    for (let i = 1; i <= 1000; i++) times.add(i);
    expect(times.summary).to.deep.equal({ p50: 500, p99: 990, max: 1000 });
  });
});
