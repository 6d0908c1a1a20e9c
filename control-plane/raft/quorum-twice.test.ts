// The arithmetic of majorities against a second version that is as dumb as possible: it lists the majorities and looks at
// each. All sets up to five members, and random larger ones.
import { expect } from "chai";
import fc from "fast-check";
import { TswarmError } from "#base/errors.ts";
import { changedConf, decodeConfChange, emptyConf, encodeConfChange } from "#control-plane/raft/conf-change.ts";
import { committedIndex, quorumActive, type VoteResult, voteResult } from "#control-plane/raft/quorum.ts";
import type { ConfChange, ConfState } from "#control-plane/raft/types.ts";

const subsets = <T>(set: readonly T[]): T[][] =>
  set.reduce<T[][]>((all, member) => all.concat(all.map((subset) => [...subset, member])), [[]]);
/** More than those that are left out. */
const majorities = <T>(voters: readonly T[]): T[][] =>
  subsets(voters).filter((subset) => subset.length > voters.length - subset.length);

const dumbCommitted = (voters: readonly number[], matchOf: (id: number) => number): number => {
  for (let index = 20; index > 0; index--)
    if (majorities(voters).some((majority) => majority.every((id) => matchOf(id) >= index))) return index;
  return 0;
};
const dumbVote = (voters: readonly number[], votes: ReadonlyMap<number, boolean>): VoteResult => {
  const lists = majorities(voters);
  if (lists.some((majority) => majority.every((id) => votes.get(id) === true))) return "won";
  // It could still be won if all that are silent granted.
  return lists.some((majority) => majority.every((id) => votes.get(id) !== false)) ? "pending" : "lost";
};
const dumbActive = (voters: readonly number[], active: (id: number) => boolean): boolean =>
  majorities(voters).some((majority) => majority.every(active));

/** All lists of `length` values out of `values`. */
const product = <T>(values: readonly T[], length: number): T[][] =>
  length === 0 ? [[]] : product(values, length - 1).flatMap((list) => values.map((value) => [...list, value]));
const ids = (size: number): number[] => Array.from({ length: size }, (_, i) => i + 1);
/** Ids that have the value but are no voters. */
const strangers = [98, 99];

const check = (
  voters: readonly number[],
  matches: readonly number[],
  votes: readonly (boolean | undefined)[],
): void => {
  const matchOf = (id: number) => (strangers.includes(id) ? 20 : matches[voters.indexOf(id)]!);
  expect(committedIndex(voters, matchOf), `of [${matches}]`).to.equal(dumbCommitted(voters, matchOf));
  for (const other of [true, false]) {
    const given = new Map(voters.flatMap((id, i) => (votes[i] === undefined ? [] : [[id, votes[i]] as const])));
    for (const id of strangers) given.set(id, other);
    expect(voteResult(voters, given), `${voters.length} voters, [${votes}]`).to.equal(dumbVote(voters, given));
  }
  const active = (id: number) => votes[voters.indexOf(id)] === true || strangers.includes(id);
  expect(quorumActive(voters, active)).to.equal(voters.length > 0 && dumbActive(voters, active));
};

describe("quorum, computed twice", () => {
  for (const size of [1, 2, 3, 4, 5])
    it(`all indexes and votes of ${size}`, () => {
      for (const matches of product([0, 1, 2, 3], size)) check(ids(size), matches, []);
      for (const votes of product([true, false, undefined], size)) check(ids(size), ids(size), votes);
    });

  it("nobody commits, elects or is active without voters", () => {
    expect(committedIndex([], () => 9)).to.equal(0);
    expect(voteResult([], new Map([[1, true]]))).to.equal("lost");
    expect(quorumActive([], () => true)).to.equal(false);
  });

  it("random sets of up to nine", () => {
    const vote = fc.constantFrom(true, false, undefined);
    const sets = fc
      .uniqueArray(fc.integer({ min: 1, max: 90 }), { minLength: 1, maxLength: 9 })
      .chain((voters) =>
        fc.tuple(
          fc.constant(voters),
          fc.array(fc.nat(20), { minLength: voters.length, maxLength: voters.length }),
          fc.array(vote, { minLength: voters.length, maxLength: voters.length }),
        ),
      );
    fc.assert(
      fc.property(sets, ([voters, matches, votes]) => check(voters, matches, votes)),
      { numRuns: 150 },
    );
  });
});

const changes = fc.array(
  fc.record({
    kind: fc.constantFrom<ConfChange["kind"]>("add-voter", "add-learner", "remove", "update"),
    id: fc.integer({ min: 1, max: 7 }),
    context: fc.constant(new Uint8Array([1, 2])),
  }),
  { maxLength: 30 },
);
const sorted = (list: readonly number[]) => [...new Set(list)].sort((a, b) => a - b);

describe("changes of members, any sequence", () => {
  it("leaves sorted lists without overlap, and never gives a removed id back", () => {
    fc.assert(
      fc.property(changes, (sequence) => {
        let conf: ConfState = emptyConf;
        const removed = new Set<number>();
        for (const change of sequence) {
          conf = changedConf(conf, change);
          if (change.kind === "remove") removed.add(change.id);
          for (const list of [conf.voters, conf.learners, conf.removed]) expect(list).to.deep.equal(sorted(list));
          const all = [...conf.voters, ...conf.learners, ...conf.removed];
          expect(sorted(all)).to.have.length(all.length);
          expect(new Set(conf.removed)).to.deep.equal(removed);
        }
      }),
    );
  });

  it("each majority of the voters before shares a member with each of those after", () => {
    fc.assert(
      fc.property(changes, (sequence) => {
        let conf: ConfState = emptyConf;
        for (const change of sequence) {
          const before = conf;
          conf = changedConf(conf, change);
          if (before.voters.length === 0 || conf.voters.length === 0) continue;
          for (const old of majorities(before.voters))
            for (const next of majorities(conf.voters))
              expect(
                old.some((id) => next.includes(id)),
                `[${before.voters}] then [${conf.voters}]`,
              ).to.equal(true);
        }
      }),
      { numRuns: 50 },
    );
  });

  it("are applied once or twice alike, and survive their encoding", () => {
    fc.assert(
      fc.property(changes, (sequence) => {
        let conf: ConfState = emptyConf;
        for (const change of sequence) {
          const copy = decodeConfChange(encodeConfChange(change));
          expect(copy).to.deep.equal(change);
          conf = changedConf(conf, change);
          expect(changedConf(conf, copy)).to.deep.equal(conf);
        }
      }),
    );
  });

  it("are refused when they name no member", () => {
    for (const id of [0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 60]) {
      const bytes = encodeConfChange({ kind: "remove", id, context: new Uint8Array() });
      expect(() => decodeConfChange(bytes), String(id)).to.throw(TswarmError, "names no member");
    }
  });
});
