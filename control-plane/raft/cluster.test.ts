import { expect } from "chai";
import { type Random, seededRandom } from "#base/random.ts";
import { bootstrapDisk, FakeMember } from "#control-plane/raft/fake-member.ts";
import type { Message } from "#control-plane/raft/types.ts";

const bytes = (text: string) => new TextEncoder().encode(text);

/** A cluster in memory. Faults are drawn for each seed; every step checks the promises of raft. */
class Cluster {
  readonly members = new Map<number, FakeMember>();
  readonly random: Random;
  readonly snapshots = new Map<number, string[]>([[1, []]]);
  /** Leader of each term: election safety. */
  readonly leaders = new Map<number, number>();
  /** What was applied at each index by anybody: state machine safety. */
  readonly history = new Map<number, string>();
  readonly faults: {
    loss: number;
    duplicate: number;
    crash: number;
    snapshot: number;
    slowDisk: number;
    churn: number;
  };
  network: Message[] = [];
  cut = new Set<number>();
  proposals = 0;

  constructor(seed: number, size: number) {
    this.random = seededRandom(seed);
    const r = this.random;
    this.faults = {
      loss: r.float() * 0.3,
      duplicate: r.float() * 0.2,
      crash: r.float() * 0.004,
      snapshot: r.float() * 0.01,
      slowDisk: r.float() * 0.8,
      churn: r.int(2) * 0.01,
    };
    const voters = Array.from({ length: size }, (_, i) => i + 1);
    for (const id of voters) this.add(id, bootstrapDisk({ voters, learners: [], removed: [] }));
  }

  add(id: number, disk: ConstructorParameters<typeof FakeMember>[1]): void {
    this.members.set(id, new FakeMember(id, disk, this.random, this.snapshots));
  }

  send(messages: readonly Message[]): void {
    this.network.push(...messages.filter((m) => this.members.has(m.to)));
  }

  work(member: FakeMember): void {
    const before = member.state.length;
    const ready = member.process();
    if (ready !== null) this.send(ready.messages);
    for (const line of ready?.snapshot ? member.state : member.state.slice(before)) {
      const index = Number(line.split(":")[0]);
      const known = this.history.get(index);
      if (known !== undefined && known !== line) throw new Error(`${member.id} applied ${line}, another one ${known}`);
      this.history.set(index, line);
    }
    const { role, term } = member.node.status();
    if (role !== "leader") return;
    const other = this.leaders.get(term) ?? member.id;
    if (other !== member.id) throw new Error(`two leaders in term ${term}: ${other} and ${member.id}`);
    this.leaders.set(term, member.id);
  }

  deliverOne(faulty: boolean): void {
    if (this.network.length === 0) return;
    const at = faulty ? this.random.int(Math.min(this.network.length, 20)) : 0;
    const [message] = this.network.splice(at, 1);
    if (message === undefined) return;
    if (faulty) {
      if (this.cut.has(message.from) || this.cut.has(message.to)) {
        this.reportLost(message);
        return;
      }
      if (this.random.float() < this.faults.loss) {
        this.reportLost(message);
        return;
      }
      if (this.random.float() < this.faults.duplicate) this.network.push(message);
    }
    this.members.get(message.to)!.node.step(message);
    if (message.kind === "snapshot") this.members.get(message.from)!.node.reportSnapshot(message.to, true);
  }

  reportLost(message: Message): void {
    if (message.kind === "snapshot") this.members.get(message.from)!.node.reportSnapshot(message.to, false);
  }

  leader(): FakeMember | undefined {
    const leaders = [...this.members.values()].filter((m) => m.node.status().role === "leader");
    return leaders.sort((a, b) => b.node.status().term - a.node.status().term)[0];
  }

  faultyStep(): void {
    const { random: r, faults } = this;
    const all = [...this.members.values()];
    const one = all[r.int(all.length)]!;
    if (r.float() < 0.1) one.node.tick();
    for (let i = r.int(4); i > 0; i--) this.deliverOne(true);
    if (r.float() < 0.1 && one.node.propose(bytes(`p${this.proposals}`)).ok) this.proposals++;
    if (r.float() < faults.crash) one.crash();
    if (r.float() < faults.snapshot) one.takeSnapshot(r.int(10));
    if (r.float() < 0.002) this.cut = new Set(r.int(2) === 0 ? [] : [all[r.int(all.length)]!.id]);
    if (r.float() < 0.002) one.node.transferLeadership(all[r.int(all.length)]!.id);
    if (r.float() < faults.churn) this.changeMember(one);
    this.work(one);
    while (one.hasUnsynced && r.float() > faults.slowDisk) this.send(one.sync());
    this.work(one);
  }

  changeMember(member: FakeMember): void {
    const { voters, learners } = member.conf;
    const id = 1 + this.random.int(7);
    const none = new Uint8Array();
    if (learners.length > 0) member.node.proposeConfChange({ kind: "add-voter", id: learners[0]!, context: none });
    else if (voters.includes(id) && voters.length > 3) {
      member.node.proposeConfChange({ kind: "remove", id, context: none });
    } else if (!this.members.has(id) && member.node.proposeConfChange({ kind: "add-learner", id, context: none }).ok) {
      this.add(id, { hardState: null, snapshot: null, entries: [] });
    }
  }

  /** No faults any more: everything is delivered and synced. */
  calm(rounds: number): void {
    this.cut.clear();
    for (let i = 0; i < rounds; i++) {
      for (const m of this.members.values()) m.node.tick();
      for (let busy = true; busy; ) {
        busy = this.network.length > 0;
        while (this.network.length > 0) this.deliverOne(false);
        for (const m of this.members.values()) {
          this.work(m);
          while (m.hasUnsynced) {
            busy = true;
            this.send(m.sync());
          }
        }
      }
    }
  }

  checkLogs(): void {
    // Log matching on disk: same index and term, same entry and same predecessors.
    const all = [...this.members.values()].map((m) => m.durable);
    for (const a of all) {
      for (const b of all) {
        let agree = false;
        const to = Math.min(a.base + a.entries.length, b.base + b.entries.length);
        for (let i = to; i > Math.max(a.base, b.base); i--) {
          const x = a.entries[i - a.base - 1]!;
          const y = b.entries[i - b.base - 1]!;
          agree ||= x.term === y.term;
          if (agree) expect([x.term, [...x.data]]).to.deep.equal([y.term, [...y.data]]);
        }
      }
    }
  }
}

const run = (seed: number): Cluster => {
  const cluster = new Cluster(seed, seed % 3 === 0 ? 5 : 3);
  for (let i = 0; i < 4000; i++) {
    cluster.faultyStep();
    if (i % 200 === 0) cluster.checkLogs();
  }
  cluster.calm(60);
  cluster.checkLogs();
  return cluster;
};

describe("raft in a faulty cluster", function () {
  this.timeout(60_000);
  const seeds = Number(process.env.SEEDS ?? 120);
  const first = Number(process.env.SEED ?? 1);

  it("keeps its promises and converges", () => {
    let committed = 0;
    for (let seed = first; seed < first + seeds; seed++) {
      try {
        const cluster = run(seed);
        const leader = cluster.leader();
        expect(leader, "a leader after the faults").to.not.equal(undefined);
        const { voters, learners } = leader!.conf;
        for (const id of [...voters, ...learners]) {
          expect(cluster.members.get(id)!.state, `state of ${id}`).to.deep.equal(leader!.state);
        }
        committed += leader!.state.length;
      } catch (error) {
        throw new Error(`seed ${seed}: ${error instanceof Error ? error.message : error}`, { cause: error });
      }
    }
    expect(committed).to.be.greaterThan(seeds * 20);
  });

  it("is deterministic", () => {
    const [a, b] = [run(7), run(7)];
    expect([...a.history]).to.deep.equal([...b.history]);
    expect(a.proposals).to.equal(b.proposals);
  });
});
