import { expect } from "chai";
import { RaftLog } from "#control-plane/raft/log.ts";
import type { Entry } from "#control-plane/raft/types.ts";

const none = new Uint8Array();
/** Entries from `first` with these terms. */
const entries = (first: number, ...terms: number[]): Entry[] =>
  terms.map((term, i) => ({ term, index: first + i, type: "normal", data: none }));
const logOf = (...terms: number[]): RaftLog =>
  new RaftLog({ hardState: null, snapshot: null, entries: entries(1, ...terms) });
const terms = (log: RaftLog): (number | undefined)[] =>
  Array.from({ length: log.lastIndex }, (_, i) => log.term(i + 1));
const conf = { voters: [1], learners: [], removed: [] };

describe("raft log", () => {
  const appends: [string, number[], [number, number, number[]], number | undefined, number[]][] = [
    ["empty log, first entries", [], [0, 0, [1, 1]], 2, [1, 1]],
    ["follows", [1, 1], [2, 1, [2]], 3, [1, 1, 2]],
    ["gap", [1], [2, 1, [1]], undefined, [1]],
    ["previous of another term", [1, 1], [2, 2, [2]], undefined, [1, 1]],
    ["repeated", [1, 1, 1], [0, 0, [1, 1, 1]], 3, [1, 1, 1]],
    ["repeated and shorter truncates nothing", [1, 1, 1], [0, 0, [1]], 1, [1, 1, 1]],
    ["overlap with news", [1, 1], [1, 1, [1, 2]], 3, [1, 1, 2]],
    ["conflict truncates", [1, 1, 2, 2], [2, 1, [3]], 3, [1, 1, 3]],
    ["conflict later in the message", [1, 1, 2, 2], [1, 1, [1, 3, 3]], 4, [1, 1, 3, 3]],
    ["empty message matches only up to the previous", [1, 1, 1], [1, 1, []], 1, [1, 1, 1]],
  ];
  for (const [name, own, [prev, prevTerm, sent], expected, after] of appends) {
    it(`append: ${name}`, () => {
      const log = logOf(...own);
      expect(log.acceptAppend(prev, prevTerm, entries(prev + 1, ...sent))).to.equal(expected);
      expect(terms(log)).to.deep.equal(after);
    });
  }

  it("refuses to overwrite what is committed", () => {
    const log = logOf(1, 1);
    log.commitTo(2);
    expect(() => log.acceptAppend(1, 1, entries(2, 2))).to.throw("conflicts with a committed");
  });

  const hints: [number[], number, number, { index: number; term: number }][] = [
    [[1, 1, 3, 3], 4, 2, { index: 2, term: 1 }],
    [[1, 1, 3, 3], 4, 3, { index: 4, term: 3 }],
    [[4, 4, 4], 3, 2, { index: 0, term: 0 }],
    [[], 0, 5, { index: 0, term: 0 }],
  ];
  for (const [own, index, term, expected] of hints) {
    it(`conflict hint in [${own}] from ${index} with term ${term}`, () => {
      expect(logOf(...own).findConflictByTerm(index, term)).to.deep.equal(expected);
    });
  }

  it("up to date: last term first, then length", () => {
    const log = logOf(1, 2, 2);
    const cases: [number, number, boolean][] = [
      [3, 2, true],
      [4, 2, true],
      [2, 2, false],
      [9, 1, false],
      [1, 3, true],
    ];
    for (const [index, term, expected] of cases)
      expect(log.isUpToDate(index, term), `${term}/${index}`).to.equal(expected);
  });

  it("commits by counting only entries of the own term", () => {
    const log = logOf(1, 2, 3);
    expect(log.commitCounted(2, 3)).to.equal(false);
    expect(log.commitCounted(3, 3)).to.equal(true);
    expect(log.committed).to.equal(3);
    expect(log.commitCounted(2, 2)).to.equal(false);
  });

  it("a write that ends late does not count for an entry that took the place meanwhile", () => {
    const log = logOf(1);
    log.acceptAppend(1, 1, entries(2, 2, 2));
    log.takeUnstable(1);
    // Overwritten by term 3, then by term 2's entries again, before any write has ended.
    log.acceptAppend(1, 1, entries(2, 3));
    log.takeUnstable(2);
    log.acceptAppend(1, 1, entries(2, 2, 2));
    log.takeUnstable(3);
    log.stabilized(1);
    expect(log.stable).to.equal(1);
    log.stabilized(2);
    expect(log.stable).to.equal(1);
    log.stabilized(3);
    expect(log.stable).to.equal(3);
  });

  it("counts only what a write covered, not what is in memory when it ends", () => {
    const log = logOf();
    log.append(entries(1, 1));
    log.takeUnstable(1);
    log.append(entries(2, 1));
    log.stabilized(1);
    expect(log.stable).to.equal(1);
    expect(log.takeUnstable(2).entries.map((e) => e.index)).to.deep.equal([2]);
  });

  it("hands out only committed entries that are stable, at least one, cut by bytes", () => {
    const log = logOf();
    log.append(entries(1, 1, 1, 1));
    log.commitTo(3);
    expect(log.takeCommitted(1000)).to.deep.equal([]);
    log.takeUnstable(1);
    log.stabilized(1);
    expect(log.takeCommitted(1).map((e) => e.index)).to.deep.equal([1]);
    expect(log.takeCommitted(48).map((e) => e.index)).to.deep.equal([2, 3]);
    expect(log.hasCommitted).to.equal(false);
  });

  it("a received snapshot replaces everything, and is stable only after its own write", () => {
    const log = logOf(1, 1, 1, 1, 1);
    log.acceptAppend(5, 1, entries(6, 2));
    log.takeUnstable(1);
    log.restore({ index: 4, term: 3, conf });
    expect([log.firstIndex, log.lastIndex, log.lastTerm, log.committed]).to.deep.equal([5, 4, 3, 4]);
    log.stabilized(1);
    expect(log.stable).to.be.lessThan(4);
    expect(log.takeUnstable(2).snapshot?.index).to.equal(4);
    log.stabilized(2);
    expect(log.stable).to.equal(4);
  });

  it("compaction keeps the term before the first entry", () => {
    const log = new RaftLog({
      hardState: { term: 2, vote: 0, commit: 3 },
      snapshot: null,
      entries: entries(1, 1, 1, 2, 2),
    });
    log.takeCommitted(1000);
    log.appliedTo(3);
    log.compact(3);
    expect([log.firstIndex, log.lastIndex, log.term(3), log.term(2)]).to.deep.equal([4, 4, 2, undefined]);
    expect(() => log.compact(4)).to.throw("beyond the applied");
  });

  it("knows the tail of so many bytes", () => {
    const log = new RaftLog({ hardState: null, snapshot: null, entries: [] });
    const entries = [10, 20, 30, 40].map((length, i) => ({
      ...{ term: 1, index: i + 1, type: "normal" as const },
      data: new Uint8Array(length),
    }));
    log.append(entries);
    const bytes = (...lengths: number[]) => lengths.reduce((sum, length) => sum + length + 24, 0);
    expect(log.startOfTail(4, bytes(40) - 1)).to.equal(5);
    expect(log.startOfTail(4, bytes(40))).to.equal(4);
    expect(log.startOfTail(4, bytes(30, 40))).to.equal(3);
    expect(log.startOfTail(3, bytes(20, 30) + 1)).to.equal(2);
    expect(log.startOfTail(4, Number.POSITIVE_INFINITY)).to.equal(1);
    expect(log.startOfTail(0, 1)).to.equal(1);
  });
});
