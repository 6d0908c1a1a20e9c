import { expect } from "chai";
import { Progress } from "#control-plane/raft/progress.ts";

const replicating = (match: number): Progress => {
  const p = new Progress(match + 1, false, true, { messages: 2, bytes: 100 });
  p.acked(match);
  p.becomeReplicate();
  return p;
};

describe("progress", () => {
  it("a probe waits for its answer or the next heartbeat", () => {
    const p = new Progress(5, false, true, { messages: 2, bytes: 100 });
    p.sent(1, 10);
    expect([p.paused, p.next]).to.deep.equal([true, 5]);
    p.resumeProbe();
    expect(p.paused).to.equal(false);
  });

  it("replication runs ahead until messages or bytes in flight are full", () => {
    const p = replicating(4);
    p.sent(2, 10);
    expect([p.next, p.full]).to.deep.equal([7, false]);
    p.sent(1, 10);
    expect([p.next, p.full]).to.deep.equal([8, true]);
    p.acked(6);
    expect([p.match, p.full]).to.deep.equal([6, false]);
    p.sent(1, 95);
    expect(p.full).to.equal(true);
    p.freeOne();
    expect(p.full).to.equal(false);
  });

  it("old and repeated answers move nothing back", () => {
    const p = replicating(4);
    p.sent(4, 10);
    expect(p.acked(8)).to.equal(true);
    expect(p.acked(6)).to.equal(false);
    expect([p.match, p.next]).to.deep.equal([8, 9]);
    expect(p.rejected(7, 3)).to.equal(false);
    expect([p.match, p.next]).to.deep.equal([8, 9]);
  });

  it("in probe only the answer to the last probe counts, and never below the match", () => {
    const p = new Progress(10, false, true, { messages: 2, bytes: 100 });
    p.acked(3);
    expect(p.rejected(5, 4)).to.equal(false);
    expect(p.rejected(9, 1)).to.equal(true);
    expect(p.next).to.equal(4);
  });

  it("a sent snapshot moves the next probe, a failed one does not", () => {
    const p = replicating(4);
    p.becomeSnapshot(20);
    expect(p.paused).to.equal(true);
    p.becomeProbe();
    expect(p.next).to.equal(21);
    p.becomeSnapshot(30);
    p.snapshotFailed();
    p.becomeProbe();
    expect(p.next).to.equal(5);
  });
});
