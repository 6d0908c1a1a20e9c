// The rules of the dissertation (Ongaro, "Consensus: Bridging Theory and Practice"; Figure 2 of the paper is its Figure 3.1),
// one test each, on a single core whose messages the test plays.
import { expect } from "chai";
import { seededRandom } from "#base/random.ts";
import { decodeConfChange } from "#control-plane/raft/conf-change.ts";
import { createRaftNode, type RaftNode } from "#control-plane/raft/node.ts";
import type { ConfState, Entry, Message, MessageBody, SnapshotMeta } from "#control-plane/raft/types.ts";

const TIMEOUT = 10;
type Start = {
  voters?: readonly number[];
  learners?: readonly number[];
  id?: number;
  term?: number;
  vote?: number;
  commit?: number;
  /** Terms of the entries from index 1. */
  log?: readonly number[];
  snapshot?: SnapshotMeta;
  random?: { int(below: number): number; float(): number };
};

/** Also of those kinds that share their fields with another one. */
type OfKind<K, M = Message> = M extends { readonly kind: infer Kinds } ? (K extends Kinds ? M : never) : never;

const text = new TextEncoder();
const entry = (term: number, index: number, data = ""): Entry => ({
  term,
  index,
  type: "normal",
  data: text.encode(data),
});
const entriesOf = (terms: readonly number[], first = 1): Entry[] => terms.map((term, i) => entry(term, first + i));

/** A core with a disk that takes everything at once, unless `hold` is called. */
class Member {
  readonly node: RaftNode;
  readonly id: number;
  readonly conf: ConfState;
  readonly disk: Entry[];
  applied: number[] = [];
  #held: number[] = [];
  #waiting: Message[] = [];
  #holds = false;

  constructor({ voters = [1, 2, 3], learners = [], id = 1, term, vote = 0, commit = 0, log = [], ...rest }: Start) {
    this.id = id;
    this.conf = { voters, learners, removed: [] };
    // Members are known from a snapshot before the first entry.
    const snapshot = rest.snapshot ?? { index: 0, term: 0, conf: this.conf };
    this.disk = entriesOf(log, snapshot.index + 1);
    this.node = createRaftNode({
      id,
      electionTicks: TIMEOUT,
      heartbeatTicks: 1,
      maxMessageBytes: 1 << 20,
      inflight: { messages: 64, bytes: 1 << 20 },
      maxUncommittedBytes: 1 << 20,
      maxCommittedBytes: 1 << 20,
      random: rest.random ?? { int: () => 0, float: () => 0 },
      restart: {
        hardState: { term: term ?? log.at(-1) ?? 0, vote, commit },
        snapshot,
        entries: [...this.disk],
      },
    });
  }

  hold(): void {
    this.#holds = true;
  }

  /** The writes that were held back reach the disk. Returns what waited for them. */
  release(): Message[] {
    this.#holds = false;
    const last = this.#held.at(-1);
    this.#held = [];
    if (last !== undefined) this.node.stabilized(last);
    return this.#waiting.splice(0);
  }

  /** Everything it has to say, with its writes done. */
  out(): Message[] {
    const sent: Message[] = [];
    for (let ready = this.node.ready(); ready !== null; ready = this.node.ready()) {
      sent.push(...ready.messages);
      for (const e of ready.entries) {
        this.disk.length = Math.min(this.disk.length, e.index - (this.disk[0]?.index ?? e.index));
        this.disk.push(e);
      }
      if (this.#holds) {
        this.#held.push(ready.token);
        this.#waiting.push(...ready.afterSync);
      } else {
        this.node.stabilized(ready.token);
        sent.push(...ready.afterSync);
      }
      if (ready.snapshot !== null) this.node.applied(ready.snapshot.index);
      for (const e of ready.committed) {
        this.applied.push(e.index);
        if (e.type === "conf") this.node.applyConfChange(decodeConfChange(e.data));
        this.node.applied(e.index);
      }
    }
    return sent;
  }

  kinds<K extends Message["kind"]>(kind: K): OfKind<K>[] {
    return this.out().filter((m) => m.kind === kind) as OfKind<K>[];
  }

  hear(from: number, term: number, body: MessageBody): void {
    this.node.step({ from, to: this.id, term, ...body });
  }

  tick(count = 1): void {
    for (let i = 0; i < count; i++) this.node.tick();
  }

  get status() {
    return this.node.status();
  }
}

const append = (prevIndex: number, prevTerm: number, entries: readonly Entry[], commit = 0): MessageBody => ({
  kind: "append",
  prevIndex,
  prevTerm,
  commit,
  entries,
});
const accepted = (index: number): MessageBody => ({
  kind: "append-response",
  index,
  reject: false,
  hintIndex: 0,
  hintTerm: 0,
});
const voteFor = (lastIndex: number, lastTerm: number, transfer = false): MessageBody => ({
  kind: "vote",
  lastIndex,
  lastTerm,
  transfer,
});
const granted = (reject = false): MessageBody => ({ kind: "vote-response", reject });
const preGranted: MessageBody = { kind: "pre-vote-response", reject: false };
const heartbeat = (commit = 0, round = 0): MessageBody => ({ kind: "heartbeat", commit, round });

const follower = (start: Start = {}): Member => new Member(start);
/** Has asked for votes in the next term. */
const candidate = (start: Start = {}): Member => {
  const member = new Member(start);
  member.tick(TIMEOUT);
  member.out();
  const { term } = member.status;
  for (const id of member.conf.voters) if (id !== member.id) member.hear(id, term + 1, preGranted);
  expect(member.status.role).to.equal(member.conf.voters.length > 1 ? "candidate" : "leader");
  return member;
};
/** With its empty entry written, and sent to all. */
const leader = (start: Start = {}): Member => {
  const member = candidate(start);
  member.out();
  const { term } = member.status;
  for (const id of member.conf.voters) if (id !== member.id) member.hear(id, term, granted());
  expect(member.status.role).to.equal("leader");
  member.out();
  return member;
};
/** Its empty entry is committed. */
const established = (start: Start = {}): Member => {
  const member = leader(start);
  const { term, lastIndex } = member.status;
  for (const id of member.conf.voters) if (id !== member.id) member.hear(id, term, accepted(lastIndex));
  member.out();
  expect(member.status.commit).to.equal(lastIndex);
  return member;
};
const roles = { follower, candidate, leader };

describe("raft, the rules of the paper", () => {
  for (const [role, make] of Object.entries(roles)) {
    it(`§3.3 a ${role} that hears of a higher term takes it and follows`, () => {
      for (const body of [append(0, 0, []), heartbeat(), granted(true), accepted(0)]) {
        const member = make();
        member.hear(2, 7, body);
        expect(member.status).to.include({ role: "follower", term: 7, vote: 0 });
      }
    });

    it(`§3.3 a ${role} refuses what belongs to an older term`, () => {
      for (const body of [append(0, 0, [entry(1, 1)], 1), heartbeat(1), voteFor(99, 99), granted(), accepted(9)]) {
        const member = make({ term: 4, log: [4] });
        member.out();
        const before = member.status;
        member.hear(2, 3, body);
        expect(member.status).to.deep.equal(before);
        for (const answer of member.out()) expect(answer).to.include({ kind: "append-response", reject: true });
      }
    });
  }

  it("§3.3 a member starts as a follower", () => {
    expect(follower().status).to.include({ role: "follower", term: 0, leader: 0 });
    expect(follower({ term: 9, log: [9] }).status).to.include({ role: "follower", term: 9 });
  });

  it("§3.4 a leader sends heartbeats to all in each interval", () => {
    const member = established();
    for (let i = 0; i < 3; i++) {
      member.tick();
      expect(member.kinds("heartbeat").map((m) => m.to)).to.deep.equal([2, 3]);
    }
  });

  it("§3.4 a follower that hears nothing for an election timeout begins an election", () => {
    const member = follower({ log: [1, 1] });
    member.tick(TIMEOUT - 1);
    expect(member.out()).to.deep.equal([]);
    member.tick();
    expect(member.kinds("pre-vote").map((m) => m.to)).to.deep.equal([2, 3]);
    expect(member.status).to.include({ role: "pre-candidate", term: 1 });
  });

  for (const [what, body] of [
    ["a heartbeat", heartbeat()],
    ["an append", append(2, 1, [])],
  ] as const)
    it(`§3.4 ${what} of the leader starts the election timeout anew`, () => {
      const member = follower({ log: [1, 1] });
      for (let i = 0; i < 5; i++) {
        member.tick(TIMEOUT - 1);
        member.hear(2, 1, body);
      }
      expect(member.status.role).to.equal("follower");
    });

  it("§3.4 a granted vote starts the election timeout anew, a refused one does not", () => {
    for (const [lastTerm, role] of [
      [1, "follower"],
      [0, "pre-candidate"],
    ] as const) {
      const member = follower({ log: [1, 1] });
      member.tick(TIMEOUT - 1);
      member.hear(2, 2, voteFor(2, lastTerm));
      member.tick();
      expect(member.status.role).to.equal(role);
    }
  });

  it("§3.4 a candidate raises its term, votes for itself and asks all others", () => {
    const member = candidate({ log: [1, 1] });
    const votes = member.kinds("vote");
    expect(votes.map((m) => [m.to, m.term, m.lastIndex, m.lastTerm])).to.deep.equal([
      [2, 2, 2, 1],
      [3, 2, 2, 1],
    ]);
    expect(member.status).to.include({ term: 2, vote: 1 });
  });

  for (const [size, grants, rejects, role] of [
    [1, 0, 0, "leader"],
    [3, 1, 0, "leader"],
    [3, 1, 1, "leader"],
    [5, 2, 0, "leader"],
    [5, 2, 2, "leader"],
    [3, 0, 0, "candidate"],
    [5, 1, 0, "candidate"],
    [5, 1, 2, "candidate"],
    [4, 1, 1, "candidate"],
    [3, 0, 2, "follower"],
    [5, 1, 3, "follower"],
    [4, 1, 2, "follower"],
  ] as const)
    it(`§3.4 of ${size}, ${grants} grant and ${rejects} refuse: ${role}`, () => {
      const voters = Array.from({ length: size }, (_, i) => i + 1);
      const member = candidate({ voters });
      member.out();
      for (const id of voters.slice(1, 1 + grants)) member.hear(id, 1, granted());
      for (const id of voters.slice(1 + grants, 1 + grants + rejects)) member.hear(id, 1, granted(true));
      expect(member.status.role).to.equal(role);
    });

  it("§3.4 a member votes for one candidate in a term, first come, first served", () => {
    for (const [vote, asker, reject] of [
      [0, 2, false],
      [0, 3, false],
      [2, 2, false],
      [3, 3, false],
      [2, 3, true],
      [3, 2, true],
    ] as const) {
      const member = follower({ term: 1, vote });
      member.hear(asker, 1, voteFor(0, 0));
      expect(member.kinds("vote-response")).to.deep.equal([
        { kind: "vote-response", from: 1, to: asker, term: 1, reject },
      ]);
    }
  });

  it("§3.4 a candidate follows whoever leads its term", () => {
    for (const body of [append(0, 0, []), heartbeat()]) {
      const member = candidate();
      member.hear(2, 1, body);
      expect(member.status).to.include({ role: "follower", term: 1, leader: 2 });
    }
  });

  it("§3.4 a candidate that wins nothing begins the next election after another timeout", () => {
    const member = candidate();
    member.out();
    member.tick(TIMEOUT);
    expect(member.kinds("pre-vote").map((m) => m.term)).to.deep.equal([2, 2]);
  });

  it("§3.4 election timeouts are spread over [timeout, 2·timeout), for followers and candidates", () => {
    const random = seededRandom(1);
    for (const before of [0, 1]) {
      const seen = new Set<number>();
      for (let i = 0; i < 300; i++) {
        const member = follower({ random });
        const rounds = before + 1;
        let ticks = 0;
        for (let round = 0; round < rounds; round++)
          for (ticks = 1, member.tick(); member.kinds("pre-vote").length === 0; ticks++) member.tick();
        seen.add(ticks);
      }
      expect([...seen].sort((a, b) => a - b)).to.deep.equal(Array.from({ length: TIMEOUT }, (_, i) => TIMEOUT + i));
    }
  });

  it("§3.5 a leader appends a command to its log and sends it to all, with the entry before", () => {
    const member = established({ log: [1, 1] });
    expect(member.node.propose(text.encode("x"))).to.deep.equal({ ok: true, index: 4, term: 2 });
    const sent = member.kinds("append");
    expect(
      sent.map((m) => [m.to, m.prevIndex, m.prevTerm, m.commit, m.entries.map((e) => [e.term, e.index])]),
    ).to.deep.equal([
      [2, 3, 2, 3, [[2, 4]]],
      [3, 3, 2, 3, [[2, 4]]],
    ]);
    expect(member.disk.map((e) => e.term)).to.deep.equal([1, 1, 2, 2]);
  });

  it("§3.5 an entry is committed when a majority has it, and the others learn that", () => {
    for (const [size, acks, commits] of [
      [1, 0, true],
      [3, 0, false],
      [3, 1, true],
      [3, 2, true],
      [5, 1, false],
      [5, 2, true],
      [4, 1, false],
      [4, 2, true],
    ] as const) {
      const voters = Array.from({ length: size }, (_, i) => i + 1);
      const member = established({ voters });
      member.node.propose(text.encode("x"));
      member.out();
      for (const id of voters.slice(1, 1 + acks)) member.hear(id, 1, accepted(2));
      const after = member.kinds("append");
      expect(member.status.commit === 2, `${acks} of ${size}`).to.equal(commits);
      expect(member.applied.includes(2)).to.equal(commits);
      if (commits) expect(after.map((m) => m.commit)).to.deep.equal(after.map(() => 2));
    }
  });

  it("§3.5 committing an entry commits all before it, also those of earlier leaders", () => {
    for (const log of [[], [2], [1, 2], [1]]) {
      const member = leader({ log });
      member.node.propose(text.encode("x"));
      member.out();
      const { term, lastIndex } = member.status;
      member.hear(2, term, accepted(lastIndex));
      member.out();
      expect(member.applied).to.deep.equal(Array.from({ length: log.length + 2 }, (_, i) => i + 1));
    }
  });

  it("§3.5 a follower applies what it learns is committed, in order", () => {
    const member = follower({ term: 1 });
    member.hear(2, 1, append(0, 0, [entry(1, 1), entry(1, 2), entry(1, 3)], 1));
    member.out();
    expect(member.applied).to.deep.equal([1]);
    member.hear(2, 1, append(3, 1, [], 3));
    member.out();
    expect(member.applied).to.deep.equal([1, 2, 3]);
  });

  it("§3.5 a follower refuses entries when the one before them is not the same, and says where its log ends", () => {
    for (const [prevIndex, prevTerm, reject] of [
      [0, 0, false],
      [1, 1, false],
      [2, 2, false],
      [1, 2, true],
      [2, 1, true],
      [3, 3, true],
    ] as const) {
      const member = follower({ log: [1, 2] });
      member.hear(2, 2, append(prevIndex, prevTerm, []));
      const [answer] = member.kinds("append-response");
      expect(answer, `${prevIndex}/${prevTerm}`).to.include({ reject, index: prevIndex });
      if (reject) expect(answer!.hintIndex).to.be.at.most(2);
    }
  });

  it("§3.5 a follower removes entries that conflict and all that follow, and keeps those that match", () => {
    for (const [prevIndex, prevTerm, sent, expected] of [
      [2, 2, [3], [1, 2, 3]],
      [1, 1, [3, 4], [1, 3, 4]],
      [0, 0, [1], [1, 2]],
      [0, 0, [3], [3]],
      [1, 1, [], [1, 2]],
    ] as const) {
      const member = follower({ term: 3, log: [1, 2] });
      member.hear(2, 4, append(prevIndex, prevTerm, entriesOf(sent, prevIndex + 1)));
      member.out();
      expect(member.disk.map((e) => e.term)).to.deep.equal(expected);
    }
  });

  it("§3.5 a follower's commit index goes no further than the last entry of the message", () => {
    const member = follower({ log: [1, 1, 1] });
    member.hear(2, 2, append(1, 1, [], 3));
    member.out();
    expect(member.status.commit).to.equal(1);
  });

  // Figure 3.6; the leader of term 8 has the log at the top.
  for (const [name, log] of [
    ["a: two missing", [1, 1, 1, 4, 4, 5, 5, 6]],
    ["b: most missing", [1, 1, 1, 4]],
    ["c: one more", [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6]],
    ["d: two more of another term", [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7]],
    ["e: missing and others", [1, 1, 1, 4, 4, 4, 4]],
    ["f: terms nobody else has", [1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3]],
  ] as const)
    it(`§3.5 Figure 3.6, a leader makes a follower's log its own: ${name}`, () => {
      const top = leader({ term: 7, log: [1, 1, 1, 4, 4, 5, 5, 6, 6, 6] });
      const other = follower({ id: 2, term: 7, log });
      let messages = 0;
      top.tick();
      for (let moved = true; moved; ) {
        const sent = [...top.out(), ...other.out()].filter((m) => m.to <= 2);
        for (const m of sent) (m.to === 1 ? top : other).node.step(m);
        messages += sent.length;
        moved = sent.length > 0;
      }
      expect(other.disk.map((e) => e.term)).to.deep.equal(top.disk.map((e) => e.term));
      expect(top.status.commit).to.equal(11);
      expect(messages).to.be.lessThan(25);
    });

  it("§3.5 a leader never overwrites or deletes entries of its own log", () => {
    const member = established({ log: [1, 1] });
    const before = member.disk.map((e) => e.term);
    // Nobody else can lead this term.
    for (const body of [append(0, 0, [entry(9, 1)]), append(1, 1, [entry(2, 2)])])
      expect(() => member.hear(2, 2, body)).not.to.change(() => member.status.lastIndex);
    member.out();
    expect(member.disk.map((e) => e.term)).to.deep.equal(before);
  });

  it("§3.6.1 votes only for logs that are at least as up to date: last term, then length", () => {
    for (const [log, lastIndex, lastTerm, reject] of [
      [[1], 1, 1, false],
      [[1], 2, 1, false],
      [[1, 1], 1, 1, true],
      [[1], 1, 2, false],
      [[1], 9, 2, false],
      [[1, 1], 1, 2, false],
      [[2], 1, 1, true],
      [[2], 9, 1, true],
      [[2, 1].sort(), 1, 1, true],
      [[], 0, 0, false],
    ] as const) {
      const member = follower({ log });
      member.hear(2, 5, voteFor(lastIndex, lastTerm));
      const [answer] = member.kinds("vote-response");
      expect(answer!.reject, `${log} asked with ${lastTerm}/${lastIndex}`).to.equal(reject);
    }
  });

  it("§3.6.2 a leader commits by counting only entries of its own term", () => {
    for (const [acked, commit] of [
      [1, 0],
      [2, 0],
      [3, 3],
    ] as const) {
      const member = leader({ log: [1, 2] });
      member.hear(2, 3, accepted(acked));
      expect(member.status.commit).to.equal(commit);
    }
  });

  it("§3.7 a message that comes twice has no further effect", () => {
    const member = follower({ log: [1] });
    const bodies = [append(1, 1, [entry(2, 2), entry(2, 3)], 2), append(1, 1, [entry(2, 2)], 2)];
    for (const body of [...bodies, ...bodies]) member.hear(2, 2, body);
    member.out();
    expect(member.disk.map((e) => e.term)).to.deep.equal([1, 2, 2]);
    expect(member.applied).to.deep.equal([1, 2]);
    const lead = leader();
    for (let i = 0; i < 3; i++) lead.hear(2, 1, accepted(1));
    expect(lead.status.progress[1]).to.include({ match: 1, next: 2 });
  });

  it("§3.8 term, vote and entries are on disk before an answer leaves that depends on them", () => {
    const voter = follower({ term: 1 });
    voter.hold();
    voter.hear(2, 2, voteFor(0, 0));
    expect(voter.out()).to.deep.equal([]);
    expect(voter.release().map((m) => m.kind)).to.deep.equal(["vote-response"]);

    const member = follower({ term: 1 });
    member.hold();
    member.hear(2, 1, append(0, 0, [entry(1, 1)]));
    expect(member.out()).to.deep.equal([]);
    expect(member.release().map((m) => m.kind)).to.deep.equal(["append-response"]);

    const asker = candidate();
    asker.hold();
    expect(asker.out()).to.deep.equal([]);
    expect(asker.release().map((m) => m.kind)).to.deep.equal(["vote", "vote"]);
  });

  it("§3.8 a new term, a vote and entries must be synced; the commit index need not", () => {
    const mustSync = (change: (member: Member) => void): boolean => {
      const member = follower({ log: [1, 1] });
      member.hear(2, 1, heartbeat());
      member.out();
      change(member);
      return member.node.ready()!.mustSync;
    };
    expect(mustSync((m) => m.hear(3, 2, heartbeat()))).to.equal(true);
    expect(mustSync((m) => m.hear(3, 2, voteFor(2, 1, true)))).to.equal(true);
    expect(mustSync((m) => m.hear(2, 1, append(2, 1, [entry(1, 3)])))).to.equal(true);
    expect(mustSync((m) => m.hear(2, 1, heartbeat(2)))).to.equal(false);
  });

  it("§3.8 a restarted member knows term, vote and log, and finds out what is committed", () => {
    const member = follower({ term: 6, vote: 3, log: [1, 5], commit: 1 });
    expect(member.status).to.include({ role: "follower", term: 6, vote: 3, lastIndex: 2, commit: 1 });
    member.hear(2, 6, voteFor(9, 9));
    expect(member.kinds("vote-response")[0]).to.include({ reject: true });
    member.hear(3, 6, append(2, 5, [], 2));
    member.out();
    expect(member.applied).to.deep.equal([1, 2]);
  });

  describe("§3.10 handing leadership over", () => {
    it("the leader takes no proposals, brings the target up to date, then tells it to campaign", () => {
      const member = established();
      member.node.propose(text.encode("x"));
      member.out();
      member.node.transferLeadership(2);
      expect(member.node.propose(text.encode("y"))).to.deep.equal({ ok: false, reason: "transferring" });
      expect(member.kinds("timeout-now")).to.deep.equal([]);
      member.hear(2, 1, accepted(2));
      expect(member.kinds("timeout-now").map((m) => m.to)).to.deep.equal([2]);
    });

    it("the target campaigns at once, and the others vote although they hear their leader", () => {
      const target = follower({ id: 2, log: [1] });
      target.hear(1, 1, heartbeat());
      target.hear(1, 1, { kind: "timeout-now" });
      const votes = target.kinds("vote");
      expect(votes.map((m) => [m.to, m.term, m.transfer])).to.deep.equal([
        [1, 2, true],
        [3, 2, true],
      ]);
      const other = follower({ id: 3, log: [1] });
      other.hear(1, 1, heartbeat());
      other.out();
      other.node.step(votes[1]!);
      expect(other.kinds("vote-response")[0]).to.include({ reject: false, term: 2 });
    });

    it("when it takes longer than an election timeout, the leader goes on leading", () => {
      const member = established();
      member.node.transferLeadership(2);
      for (let i = 0; i < TIMEOUT; i++) {
        member.tick();
        member.hear(3, 1, { kind: "heartbeat-response", round: 0 });
      }
      expect(member.node.propose(text.encode("x")).ok).to.equal(true);
    });
  });

  it("§4.1 one change of members at a time, and none before an entry of the own term is applied", () => {
    const add = { kind: "add-voter", id: 4, context: new Uint8Array() } as const;
    const early = leader();
    expect(early.node.proposeConfChange(add)).to.deep.equal({ ok: false, reason: "conf_pending" });
    const member = established();
    expect(member.node.proposeConfChange(add).ok).to.equal(true);
    expect(member.node.proposeConfChange({ ...add, id: 5 })).to.deep.equal({ ok: false, reason: "conf_pending" });
    member.out();
    member.hear(2, 1, accepted(2));
    member.out();
    expect(member.status.conf.voters).to.deep.equal([1, 2, 3, 4]);
    expect(member.node.proposeConfChange({ ...add, id: 5 }).ok).to.equal(true);
  });

  it("§4.2.1 a learner gets entries, but counts for no majority and does not campaign", () => {
    const member = established({ voters: [1, 2, 3], learners: [4] });
    member.hear(4, 1, accepted(1));
    member.out();
    member.node.propose(text.encode("x"));
    expect(member.kinds("append").map((m) => m.to)).to.deep.equal([2, 3, 4]);
    member.hear(4, 1, accepted(2));
    expect(member.status.commit).to.equal(1);
    const learner = follower({ id: 4, learners: [4] });
    learner.tick(5 * TIMEOUT);
    expect(learner.out()).to.deep.equal([]);
  });

  it("§4.2.2 a leader that is removed steps down when the removal is committed, and does not count for it after", () => {
    const member = established();
    member.node.proposeConfChange({ kind: "remove", id: 1, context: new Uint8Array() });
    member.out();
    expect(member.status.role).to.equal("leader");
    member.hear(2, 1, accepted(2));
    // The others learn of the commit before it goes.
    expect(member.kinds("append").map((m) => m.commit)).to.include(2);
    expect(member.status).to.include({ role: "follower" });
    member.tick(5 * TIMEOUT);
    expect(member.out()).to.deep.equal([]);
  });

  it("§4.2.3 who hears its leader ignores requests for votes, and keeps its term", () => {
    for (const kind of ["vote", "pre-vote"] as const) {
      const member = follower({ log: [1] });
      member.hear(2, 1, heartbeat());
      member.out();
      member.hear(3, 9, { kind, lastIndex: 9, lastTerm: 9, transfer: false });
      expect(member.out()).to.deep.equal([]);
      expect(member.status).to.include({ term: 1, leader: 2 });
      const lead = established();
      lead.hear(3, 9, { kind, lastIndex: 9, lastTerm: 9, transfer: false });
      expect(lead.status).to.include({ role: "leader", term: 1 });
    }
  });

  describe("§5 snapshots", () => {
    const conf = { voters: [1, 2, 3], learners: [], removed: [] };

    it("a member that needs entries which are gone gets a snapshot", () => {
      const member = established({ log: [1, 1, 1] });
      member.node.snapshotted({ index: 3, term: 1, conf });
      member.node.compact(3);
      member.hear(3, 2, { kind: "append-response", index: 4, reject: true, hintIndex: 0, hintTerm: 0 });
      // 3 has acknowledged everything already: only a member that has not can be sent back.
      expect(member.kinds("snapshot")).to.deep.equal([]);
      const other = leader({ log: [1, 1, 1], commit: 3 });
      other.out();
      other.hear(2, 2, accepted(4));
      other.out();
      other.node.snapshotted({ index: 3, term: 1, conf });
      other.node.compact(3);
      other.hear(3, 2, { kind: "append-response", index: 3, reject: true, hintIndex: 1, hintTerm: 1 });
      expect(other.kinds("snapshot").map((m) => [m.to, m.snapshot.index])).to.deep.equal([[3, 3]]);
    });

    it("a snapshot replaces a log that does not have its last entry, members included", () => {
      const member = follower({ log: [1, 1], term: 2 });
      const meta = { index: 5, term: 2, conf: { voters: [1, 2, 3, 4], learners: [], removed: [] } };
      member.hear(2, 2, { kind: "snapshot", snapshot: meta });
      const ready = member.node.ready()!;
      expect(ready.snapshot).to.deep.equal(meta);
      expect(member.status).to.include({ firstIndex: 6, lastIndex: 5, commit: 5 });
      expect(member.status.conf.voters).to.deep.equal([1, 2, 3, 4]);
    });

    it("a snapshot of a part of the log removes nothing behind it", () => {
      const member = follower({ log: [1, 1, 1] });
      member.hear(2, 1, { kind: "snapshot", snapshot: { index: 2, term: 1, conf } });
      expect(member.kinds("append-response")[0]).to.include({ index: 2, reject: false });
      expect(member.status).to.include({ lastIndex: 3, commit: 2 });
    });

    it("an old snapshot changes nothing", () => {
      const member = follower({ log: [1, 1, 1], commit: 3 });
      member.hear(2, 1, { kind: "snapshot", snapshot: { index: 2, term: 1, conf } });
      expect(member.kinds("append-response")[0]).to.include({ index: 3, reject: false });
      expect(member.status).to.include({ lastIndex: 3, commit: 3 });
    });
  });

  it("§6.2 a leader that hears no majority for an election timeout steps down", () => {
    const member = established();
    for (let i = 0; i < 3; i++) {
      member.tick(TIMEOUT);
      member.hear(2, 1, { kind: "heartbeat-response", round: 0 });
    }
    expect(member.status.role).to.equal("leader");
    member.tick(2 * TIMEOUT);
    expect(member.status).to.include({ role: "follower", leader: 0 });
  });

  describe("§6.4 reads without entries", () => {
    const confirmed = (member: Member): number[] => {
      const found: number[] = [];
      for (let r = member.node.ready(); r !== null; r = member.node.ready()) {
        found.push(...r.readStates.map((read) => read.index));
        member.node.stabilized(r.token);
        if (r.committed.length > 0) member.node.applied(r.committed.at(-1)!.index);
      }
      return found;
    };

    it("wait for a majority to answer a heartbeat that was sent after the read", () => {
      const member = established();
      member.tick();
      member.out();
      member.node.readIndex(1);
      member.hear(2, 1, { kind: "heartbeat-response", round: 0 });
      expect(confirmed(member)).to.deep.equal([]);
      member.hear(2, 1, { kind: "heartbeat-response", round: 1 });
      expect(confirmed(member)).to.deep.equal([1]);
    });

    it("wait for a majority, not for anybody", () => {
      const member = established({ voters: [1, 2, 3, 4, 5] });
      member.node.readIndex(1);
      member.out();
      member.hear(2, 1, { kind: "heartbeat-response", round: 1 });
      expect(confirmed(member)).to.deep.equal([]);
      member.hear(2, 1, { kind: "heartbeat-response", round: 1 });
      expect(confirmed(member)).to.deep.equal([]);
      member.hear(5, 1, { kind: "heartbeat-response", round: 1 });
      expect(confirmed(member)).to.deep.equal([1]);
    });

    it("wait for the leader to have committed an entry of its own term", () => {
      const member = leader({ log: [1, 1], commit: 1 });
      member.node.readIndex(1);
      member.hear(2, 2, { kind: "heartbeat-response", round: 0 });
      expect(confirmed(member)).to.deep.equal([]);
      member.hear(2, 2, accepted(3));
      member.out();
      member.hear(3, 2, { kind: "heartbeat-response", round: 1 });
      expect(confirmed(member)).to.deep.equal([3]);
    });

    it("are asked of the leader by a follower", () => {
      const member = follower({ log: [1] });
      member.hear(2, 1, heartbeat());
      member.node.readIndex(7);
      expect(member.kinds("read-index")[0]).to.include({ to: 2, context: 7 });
    });
  });

  it("§9.6 a pre-vote changes neither term nor vote of anybody", () => {
    const member = follower({ log: [1], term: 3 });
    member.hear(2, 4, { kind: "pre-vote", lastIndex: 1, lastTerm: 1, transfer: false });
    expect(member.kinds("pre-vote-response")[0]).to.include({ reject: false, term: 4 });
    expect(member.status).to.include({ term: 3, vote: 0 });
    const asker = follower();
    asker.tick(5 * TIMEOUT);
    expect(asker.status).to.include({ term: 0, vote: 0, role: "pre-candidate" });
  });

  it("§10.2.1 a leader sends entries before they are on its own disk, and counts itself only when they are", () => {
    const member = established();
    member.hold();
    member.node.propose(text.encode("x"));
    expect(member.kinds("append").map((m) => m.to)).to.deep.equal([2, 3]);
    member.hear(2, 1, accepted(2));
    expect(member.status.commit).to.equal(1);
    // A majority without it is one too.
    member.hear(3, 1, accepted(2));
    expect(member.status.commit).to.equal(2);
    member.out();
    expect(member.applied).to.deep.equal([1]);
    member.release();
    member.out();
    expect(member.applied).to.deep.equal([1, 2]);
  });

  it("§10.2.2 entries follow each other without waiting for answers, once the logs are known to match", () => {
    const member = established();
    for (let i = 2; i <= 5; i++) {
      member.node.propose(text.encode("x"));
      expect(member.kinds("append").map((m) => [m.to, m.prevIndex])).to.deep.equal([
        [2, i - 1],
        [3, i - 1],
      ]);
    }
  });
});
