import { expect } from "chai";
import { silentLogger } from "#base/log.ts";
import { createManualClock } from "#control-plane/controllers/manual-clock.ts";
import { createMemoryLog, member } from "#control-plane/log/memory-log.ts";
import { followLeadership, type LeaderDuty } from "#control-plane/manager/leadership.ts";

const nothing = { apply: () => {}, restore: async () => {}, snapshot: () => [] };

describe("leadership", () => {
  const follower = { isLeader: false, leaderId: 2, members: [member(1, "node1"), member(2, "node2")] };
  const setup = (start: (name: string) => void | Promise<void> = () => {}) => {
    const log = createMemoryLog(nothing);
    const clock = createManualClock();
    const calls: string[] = [];
    const duty = (name: string): LeaderDuty => ({
      start: () => {
        calls.push(`start ${name}`);
        return start(name);
      },
      stop: (leader) => void calls.push(`stop ${name} ${leader}`),
    });
    const follow = () => followLeadership(log, [duty("a"), duty("b")], clock, silentLogger);
    return { log, clock, calls, follow };
  };

  it("starts the duties in order after the barrier, and stops them when another leads", async () => {
    const { log, clock, calls, follow } = setup();
    const leadership = follow();
    expect(leadership.leading()).to.equal(false);
    await leadership.settled(1_000);
    expect(leadership.leading()).to.equal(true);
    expect(calls).to.deep.equal(["start a", "start b"]);
    log.become(follower);
    expect(leadership.leading()).to.equal(false);
    expect(leadership.leaderAddr()).to.equal("node2:2377");
    expect(calls.slice(2)).to.deep.equal(["stop b node2:2377", "stop a node2:2377"]);
    log.become({ isLeader: true, leaderId: 1, term: 3 });
    await clock.pass(0);
    expect(calls.slice(4)).to.deep.equal(["start a", "start b"]);
    leadership.stop();
    expect(calls.slice(6)).to.have.length(2);
    log.become({ ...follower, term: 4 });
    expect(calls.slice(8)).to.deep.equal([]);
  });

  it("tells its duties who led before, also when they begin only at the second attempt", async () => {
    const log = createMemoryLog(nothing);
    const clock = createManualClock();
    const told: (string | undefined)[] = [];
    const duty: LeaderDuty = { start: (formerLeader) => void told.push(formerLeader), stop: () => {} };
    const leadership = followLeadership(log, [duty], clock, silentLogger);
    await clock.pass(0);
    expect(told).to.deep.equal([undefined]);
    log.become(follower);
    log.become({ ...follower, leaderId: 0, term: 2 });
    log.refuse(1);
    log.become({ isLeader: true, leaderId: 1, term: 3 });
    await clock.pass(1_000);
    expect(told).to.deep.equal([undefined, "node2"]);
    log.become({ ...follower, leaderId: 3, term: 4 });
    log.become({ isLeader: true, leaderId: 1, term: 5 });
    await clock.pass(1_000);
    expect(told).to.deep.equal([undefined, "node2", ""]);
    leadership.stop();
  });

  it("tries again when it could not begin", async () => {
    const { log, clock, calls, follow } = setup();
    log.refuse(2);
    const leadership = follow();
    await clock.pass(400);
    expect(calls).to.deep.equal([]);
    await clock.pass(1_000);
    expect(leadership.leading()).to.equal(true);
    expect(calls).to.deep.equal(["start a", "start b"]);
  });

  it("a duty that fails stops the ones before it, until all begin", async () => {
    let failures = 1;
    const { clock, calls, follow } = setup((name) => {
      if (name === "b" && failures-- > 0) throw new Error("b can't");
    });
    const leadership = follow();
    await clock.pass(1_000);
    expect(calls).to.deep.equal(["start a", "start b", "stop b node1:2377", "stop a node1:2377", "start a", "start b"]);
    expect(leadership.leading()).to.equal(true);
  });

  it("starts nothing more once the term is over, and takes back what it had started", async () => {
    const gate = Promise.withResolvers<void>();
    const { log, clock, calls, follow } = setup((name) => (name === "a" ? gate.promise : undefined));
    const leadership = follow();
    await clock.pass(0);
    log.become(follower);
    gate.resolve();
    await clock.pass(5_000);
    expect(calls).to.deep.equal(["start a", "stop a node2:2377"]);
    expect(leadership.leading()).to.equal(false);
  });

  it("waits for a leader, and no longer than it was told", async () => {
    const { log, clock, follow } = setup();
    log.become({ ...follower, leaderId: 0 });
    const leadership = follow();
    const settled: string[] = [];
    void leadership.settled(100).then(() => settled.push("short"));
    void leadership.settled(9_000).then(() => settled.push("long"));
    await clock.pass(200);
    expect(settled).to.deep.equal(["short"]);
    log.become(follower);
    await clock.pass(0);
    expect(settled).to.deep.equal(["short", "long"]);
  });
});
