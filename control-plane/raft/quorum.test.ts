import { expect } from "chai";
import { committedIndex, majority, quorumActive, voteResult } from "#control-plane/raft/quorum.ts";

describe("quorum", () => {
  it("majorities", () => {
    expect([1, 2, 3, 4, 5, 7].map(majority)).to.deep.equal([1, 2, 2, 3, 3, 4]);
  });

  const commits: [number[], number][] = [
    [[], 0],
    [[5], 5],
    [[5, 3], 3],
    [[5, 3, 9], 5],
    [[1, 1, 9, 9], 1],
    [[1, 2, 3, 4, 5], 3],
  ];
  for (const [matches, expected] of commits) {
    it(`of [${matches}] commits ${expected}`, () => {
      expect(committedIndex(matches.keys(), (i) => matches[i]!)).to.equal(expected);
    });
  }

  const votes: [number[], Record<number, boolean>, string][] = [
    [[1, 2, 3], { 1: true }, "pending"],
    [[1, 2, 3], { 1: true, 2: true }, "won"],
    [[1, 2, 3], { 1: true, 2: false }, "pending"],
    [[1, 2, 3], { 1: true, 2: false, 3: false }, "lost"],
    [[1, 2, 3], { 1: true, 7: true, 8: true }, "pending"],
    [[1, 2], { 1: true, 2: false }, "lost"],
    [[1], { 1: true }, "won"],
  ];
  for (const [voters, answers, expected] of votes) {
    it(`voters ${voters}, answers ${JSON.stringify(answers)}: ${expected}`, () => {
      expect(voteResult(voters, new Map(Object.entries(answers).map(([id, v]) => [Number(id), v])))).to.equal(expected);
    });
  }

  it("activity", () => {
    expect(quorumActive([1, 2, 3], (id) => id < 3)).to.equal(true);
    expect(quorumActive([1, 2, 3], (id) => id < 2)).to.equal(false);
    expect(quorumActive([], () => true)).to.equal(false);
  });
});
