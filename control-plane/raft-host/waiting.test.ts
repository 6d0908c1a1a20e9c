import { expect } from "chai";
import { ProposalWaiters, ReadBarriers } from "#control-plane/raft-host/waiting.ts";

const waiter = () => {
  const seen: string[] = [];
  return {
    seen,
    resolve: (value?: unknown) => void seen.push(`resolved ${value}`),
    reject: (error: { code: string }) => void seen.push(error.code),
  };
};

describe("proposals that wait", () => {
  it("end when their term is led from here no more, also when it was lost and won again in between", () => {
    const waiters = new ProposalWaiters();
    const [old, own] = [waiter(), waiter()];
    waiters.add(7, 3, old);
    waiters.add(8, 5, own);
    waiters.keepOnly(5, "lost");
    expect([old.seen, own.seen]).to.deep.equal([["unknown_outcome"], []]);
    waiters.applied(8, 5);
    expect(own.seen).to.deep.equal(["resolved 8"]);
  });

  it("learn that another entry took their place", () => {
    const waiters = new ProposalWaiters();
    const one = waiter();
    waiters.add(7, 3, one);
    waiters.applied(7, 4);
    expect(one.seen).to.deep.equal(["unknown_outcome"]);
  });
});

describe("read barriers", () => {
  const asked = () => {
    const barriers = new ReadBarriers(100);
    const one = waiter();
    barriers.add(one);
    return { barriers, one, context: barriers.ask()! };
  };

  it("are asked again with a new context, and an answer to the old one counts no more", () => {
    const { barriers, one, context } = asked();
    expect(barriers.tick(2, 10)).to.deep.equal([]);
    expect(barriers.tick(2, 10)).to.deep.equal([context + 1]);
    barriers.answered(context, 5);
    barriers.applied(5);
    expect(one.seen).to.deep.equal([]);
    barriers.answered(context + 1, 5);
    barriers.applied(5);
    expect(one.seen).to.deep.equal(["resolved undefined"]);
  });

  it("are given up without an answer", () => {
    const { barriers, one } = asked();
    for (let i = 0; i < 10; i++) barriers.tick(3, 10);
    expect(one.seen).to.deep.equal(["unavailable"]);
  });

  it("are given up when the answer came but the entries do not", () => {
    const { barriers, one, context } = asked();
    barriers.answered(context, 5);
    barriers.applied(4);
    for (let i = 0; i < 9; i++) barriers.tick(3, 10);
    expect(one.seen).to.deep.equal([]);
    barriers.tick(3, 10);
    expect(one.seen).to.deep.equal(["unavailable"]);
    barriers.applied(5);
    expect(one.seen).to.have.length(1);
  });
});
