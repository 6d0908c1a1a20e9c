import { expect } from "chai";
import { bootstrapDisk, FakeMember } from "#control-plane/raft/fake-member.ts";
import { entryBytes } from "#control-plane/raft/log.ts";
import type { Message } from "#control-plane/raft/types.ts";

const noRandom = { int: () => 0, float: () => 0 };
const bytes = (length: number) => new Uint8Array(length).fill(97);

/** Three members that hear each other at once, except for the dead one. `sent`: all that was for it. */
const cluster = () => {
  const snapshots = new Map<number, string[]>([[1, []]]);
  const disk = () => bootstrapDisk({ voters: [1, 2, 3], learners: [], removed: [] });
  const members = new Map([1, 2, 3].map((id) => [id, new FakeMember(id, disk(), noRandom, snapshots)]));
  const leader = members.get(1)!;
  const sent: Message[] = [];
  let dead = 0;
  const run = () => {
    for (let moved = true; moved; ) {
      moved = false;
      for (const [id, member] of members) {
        const deliver = (messages: readonly Message[]) => {
          for (const m of messages) m.to === dead ? sent.push(m) : members.get(m.to)!.node.step(m);
        };
        if (id === dead) continue;
        for (let ready = member.process(); ready !== null; ready = member.process()) {
          moved = true;
          deliver(ready.messages);
        }
        while (member.hasUnsynced) deliver(member.sync());
      }
    }
  };
  for (let i = 0; i < 10; i++) leader.node.tick();
  run();
  return {
    ...{ leader, sent, run },
    die: (id: number) => {
      dead = id;
    },
  };
};

describe("flow control", () => {
  it("sends a dead member no more than fits the window, however much is committed meanwhile", () => {
    const { leader, sent, run, die } = cluster();
    expect(leader.node.status().role).to.equal("leader");
    die(3);
    for (let i = 0; i < 500; i++) {
      expect(leader.node.propose(bytes(50)).ok).to.equal(true);
      run();
    }
    expect(leader.node.status().commit).to.be.greaterThan(500);
    const entries = sent.flatMap((m) => (m.kind === "append" ? m.entries : []));
    expect(sent.filter((m) => m.kind === "append" && m.entries.length > 0).length).to.be.at.most(4);
    expect(entries.reduce((sum, e) => sum + entryBytes(e), 0)).to.be.at.most(2000);
    const [to3] = leader.node.status().progress.filter((p) => p.id === 3);
    expect(to3!.next).to.be.lessThan(20);
  });

  it("asks a member that was unreachable by one probe for each heartbeat", () => {
    const { leader, sent, run, die } = cluster();
    die(3);
    leader.node.reportUnreachable(3);
    for (let i = 0; i < 100; i++) {
      leader.node.propose(bytes(50));
      run();
    }
    expect(sent.filter((m) => m.kind === "append")).to.have.length(1);
  });

  it("drops what a slow member lacks once a snapshot covers it: the log does not grow with its lag", () => {
    const { leader, run, die } = cluster();
    die(3);
    for (let round = 0; round < 10; round++) {
      for (let i = 0; i < 50; i++) {
        leader.node.propose(bytes(50));
        run();
      }
      leader.takeSnapshot(10);
      const { firstIndex, lastIndex } = leader.node.status();
      expect(lastIndex - firstIndex).to.be.lessThan(12);
    }
  });

  it("takes no more uncommitted bytes than its limit without a majority, and takes them again later", () => {
    const { leader, run, die } = cluster();
    die(2);
    const other = leader.node;
    // 3 does not hear either: nothing is delivered.
    let taken = 0;
    for (let i = 0; i < 500; i++) if (other.propose(bytes(100)).ok) taken++;
    expect(taken * 124).to.be.within(3500, 4200);
    run();
    expect(other.propose(bytes(100)).ok).to.equal(true);
  });
});
