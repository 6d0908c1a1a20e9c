import fs from "node:fs";
import path from "node:path";
import * as grpc from "@grpc/grpc-js";
import { expect } from "chai";
import type { Clock } from "#base/clock.ts";
import { TswarmError } from "#base/errors.ts";
import { silentLogger } from "#base/log.ts";
import { realClock, systemRandom } from "#base/node/system.ts";
import type { Disk } from "#control-plane/raft-host/disk.ts";
import { grpcTransport } from "#control-plane/raft-host/grpc-transport.ts";
import { nodeDisk } from "#control-plane/raft-host/node-disk.ts";
import { type RaftLogOptions, readRaftIdentity } from "#control-plane/raft-host/raft-log.ts";
import { type Member, TestCluster, waitFor } from "#control-plane/raft-host/test-cluster.ts";
import { testKeys } from "#control-plane/raft-host/test-keys.ts";
import type { ConnectTransport, RaftTransport } from "#control-plane/raft-host/transport.ts";
import { openWal } from "#control-plane/raft-host/wal.ts";

const bytes = (text: string) => Buffer.from(text);

const proposeMany = (member: Member, from: number, count: number): Promise<number[]> =>
  Promise.all(Array.from({ length: count }, (_, i) => member.log.propose(bytes(`line ${from + i}`))));

const codeOf = async (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => "resolved",
    (error) => (error instanceof TswarmError ? error.code : String(error)),
  );

describe("three members over gRPC", function () {
  this.timeout(60_000);
  let cluster: TestCluster;
  const begin = async (count: number, overrides: Partial<RaftLogOptions> = {}) => {
    cluster = new TestCluster(overrides);
    await cluster.bootstrap(count);
  };
  const sameState = (lines: number) =>
    waitFor(`${lines} lines on all`, () => cluster.members.every((m) => m.state.lines.length === lines));

  afterEach(async () => {
    const failed = cluster.members.filter((m) => m.fatal !== null);
    await cluster.end();
    expect(failed.map((m) => m.fatal)).to.deep.equal([]);
  });

  it("commits 1,000 proposals in order on all of them", async () => {
    await begin(3);
    const leader = await cluster.leader();
    const indexes = await proposeMany(leader, 0, 1000);
    expect(indexes).to.deep.equal([...indexes].sort((a, b) => a - b));
    expect(new Set(indexes).size).to.equal(1000);
    await sameState(1000);
    for (const m of cluster.members) expect(m.state.lines).to.deep.equal(leader.state.lines);
    expect(leader.state.lines[999]).to.equal("line 999");
  });

  it("refuses proposals on a follower, naming the leader", async () => {
    await begin(3);
    const leader = await cluster.leader();
    const [follower] = await cluster.followers();
    await waitFor("the follower to know", () => follower!.log.status().leaderId === leader.raftId);
    const error = await follower!.log.propose(bytes("x")).catch((e) => e);
    expect(error.code).to.equal("not_leader");
    expect(error.leaderAddr).to.equal(leader.addr);
  });

  it("brings a killed member back from its own log", async () => {
    await begin(3);
    const leader = await cluster.leader();
    await proposeMany(leader, 0, 300);
    const [victim] = await cluster.followers();
    cluster.kill(victim!);
    await proposeMany(leader, 300, 300);
    const back = await cluster.restart(victim!);
    await sameState(600);
    expect(back.state.lines).to.deep.equal(leader.state.lines);
    expect(back.state.restores).to.equal(0);
  });

  it("catches a far-behind member up by a snapshot, and restarts from it", async () => {
    await begin(3, { snapshotEvery: 200, keepEntries: 10 });
    const leader = await cluster.leader();
    await proposeMany(leader, 0, 100);
    const [victim] = await cluster.followers();
    cluster.kill(victim!);
    for (let i = 0; i < 6; i++) await proposeMany(leader, 100 + i * 150, 150);
    const back = await cluster.restart(victim!);
    await sameState(1000);
    // A second one when the leader wrote another meanwhile.
    expect(back.state.restores).to.be.greaterThan(0);
    cluster.kill(back);
    const again = await cluster.restart(victim!);
    await proposeMany(leader, 1000, 50);
    await sameState(1050);
    expect(again.state.lines).to.deep.equal(leader.state.lines);
  });

  it("goes on with a snapshot where its transfer broke off", async () => {
    const offsets: number[] = [];
    let breaks = 2;
    const transport: ConnectTransport = (host) => {
      const real = grpcTransport({
        credentials: grpc.credentials.createInsecure(),
        ...{ clock: realClock, random: systemRandom, logger: silentLogger },
      })(host);
      const sendSnapshot: RaftTransport["sendSnapshot"] = (to, term, meta, pieces) =>
        real.sendSnapshot(to, term, meta, async function* (offset) {
          offsets.push(offset);
          let sent = 0;
          for await (const piece of pieces(offset)) {
            if (sent > 700_000 && breaks > 0) {
              breaks--;
              // What is still on its way is lost with the connection.
              await new Promise((resolve) => setTimeout(resolve, 500));
              throw new Error("the connection broke");
            }
            yield piece;
            sent += piece.length;
          }
        });
      return { ...real, sendSnapshot };
    };
    await begin(3, { transport, snapshotEvery: 40, keepEntries: 5 });
    const [victim] = await cluster.followers();
    cluster.kill(victim!);
    const leader = await cluster.leader();
    for (let i = 0; i < 43; i++) await leader.log.propose(Buffer.alloc(60_000, 97 + (i % 26)));
    const back = await cluster.restart(victim!);
    await sameState(43);
    expect(back.state.lines).to.deep.equal(leader.state.lines);
    expect(offsets).to.have.length(3);
    expect(offsets[0]).to.equal(0);
    expect(offsets[1]).to.be.greaterThan(400_000);
    expect(offsets[2]).to.be.greaterThan(offsets[1]! + 400_000);
  });

  it("elects another leader when it is killed, without losing what was acknowledged", async () => {
    await begin(3);
    const first = await cluster.leader();
    await proposeMany(first, 0, 200);
    const pending = Promise.all(Array.from({ length: 20 }, (_, i) => codeOf(first.log.propose(bytes(`late ${i}`)))));
    await new Promise((resolve) => setImmediate(resolve));
    cluster.kill(first);
    for (const code of await pending) expect(code).to.be.oneOf(["resolved", "unknown_outcome", "unavailable"]);
    const second = await cluster.leader();
    await second.log.propose(bytes("after"));
    expect(second.state.lines.slice(0, 200)).to.deep.equal(Array.from({ length: 200 }, (_, i) => `line ${i}`));
    await cluster.restart(first);
    await sameState(second.state.lines.length);
  });

  it("needs no election timeout when the connection to the leader breaks", async () => {
    let tickMs = 2;
    const clock: Clock = { ...realClock, after: (ms, run) => realClock.after(ms === 2 ? tickMs : ms, run) };
    await begin(3, { clock, tickMs: 2, electionTicks: 400, heartbeatTicks: 1 });
    await cluster.leader();
    // From here on silence is noticed only when this test has given up long ago.
    tickMs = 100;
    const first = await cluster.leader();
    await proposeMany(first, 0, 10);
    await sameState(10);
    const before = first.log.status().term;
    cluster.kill(first);
    const second = await cluster.leader();
    await second.log.propose(bytes("after"));
    expect(second.log.status().term).to.equal(before + 1);
  });

  it("hands leadership over", async () => {
    await begin(3);
    const first = await cluster.leader();
    await proposeMany(first, 0, 10);
    const [target] = await cluster.followers();
    await first.log.transferLeadership(target!.raftId);
    await waitFor("the new leader", () => target!.log.status().isLeader);
    await target!.log.propose(bytes("x"));
    expect(await codeOf(first.log.propose(bytes("y")))).to.equal("not_leader");
  });

  it("stops gracefully: the next leader is there at once", async () => {
    await begin(3);
    const first = await cluster.leader();
    await proposeMany(first, 0, 10);
    await first.log.stop();
    expect(cluster.members.some((m) => m !== first && m.log.status().isLeader)).to.equal(true);
    expect(await codeOf(first.log.propose(bytes("x")))).to.equal("unavailable");
  });

  it("read barriers see everything acknowledged before, on any member", async () => {
    await begin(3);
    const leader = await cluster.leader();
    for (let round = 0; round < 20; round++) {
      await leader.log.propose(bytes(`r${round}`));
      const reader = cluster.members[round % 3]!;
      await reader.log.readBarrier();
      expect(reader.state.lines).to.include(`r${round}`);
    }
  });

  it("a read barrier without a majority is refused, not answered", async () => {
    await begin(3);
    const leader = await cluster.leader();
    await leader.log.propose(bytes("x"));
    for (const m of await cluster.followers()) cluster.kill(m);
    expect(await codeOf(leader.log.readBarrier())).to.equal("unavailable");
    expect(leader.log.status().isLeader).to.equal(false);
  });

  it("adds members as learners, makes them voters, and removes them", async () => {
    await begin(1, { snapshotEvery: 100, keepEntries: 10 });
    const first = await cluster.leader();
    await proposeMany(first, 0, 150);
    await proposeMany(first, 150, 150);
    await cluster.join("node-b");
    await cluster.join("node-c");
    const voters = (m: Member) => m.log.status().members.filter((x) => x.voter).length;
    await waitFor("three voters everywhere", () => cluster.members.every((m) => voters(m) === 3));
    await sameState(300);
    const leader = await cluster.leader();
    const victim = cluster.members.find((m) => m !== leader)!;
    await leader.log.removeMember(victim.raftId);
    await waitFor("the removed one to hear of it", () => victim.removed);
    cluster.kill(victim);
    await proposeMany(leader, 300, 10);
    await sameState(310);
    expect(leader.log.status().members.map((m) => m.raftId)).to.not.include(victim.raftId);
    const other = cluster.members.find((m) => m !== leader)!;
    await waitFor("the other one to know the leader", () => other.log.status().leaderId === leader.raftId);
    const follower = await codeOf(other.log.removeMember(leader.raftId));
    expect(follower).to.equal("not_leader");
  });

  it("does not forget that the other member is gone, whose vote was needed before", async () => {
    await begin(2);
    const leader = await cluster.leader();
    const other = cluster.members.find((m) => m !== leader)!;
    await leader.log.removeMember(other.raftId);
    for (const member of [leader, other]) cluster.kill(member);
    const back = await cluster.restart(leader);
    await waitFor("a leader", () => back.log.status().isLeader);
    await back.log.propose(bytes("x"));
  });

  it("refuses to remove a member when the rest would have no majority", async () => {
    await begin(3);
    const leader = await cluster.leader();
    await leader.log.propose(bytes("x"));
    const [a, b] = await cluster.followers();
    cluster.kill(a!);
    await waitFor("the leader to miss it", () => leader.log.status().members.some((m) => !m.reachable));
    expect(await codeOf(leader.log.removeMember(b!.raftId))).to.equal("conflict");
    await leader.log.removeMember(a!.raftId);
    await leader.log.propose(bytes("y"));
  });

  it("falls back to the snapshot before when the newest is damaged", async () => {
    await begin(1, { snapshotEvery: 100, keepEntries: 10 });
    const only = await cluster.leader();
    const snapshots = () => fs.readdirSync(path.join(only.dir, "snap")).filter((n) => n.endsWith(".snap"));
    for (let i = 0; i < 40; i++) await proposeMany(only, i * 10, 10);
    await waitFor("snapshots", () => snapshots().length === 2);
    cluster.kill(only);
    const newest = path.join(only.dir, "snap", snapshots().sort().at(-1)!);
    fs.truncateSync(newest, fs.statSync(newest).size - 3);
    const back = await cluster.restart(only);
    await waitFor("all lines", () => back.state.lines.length === 400);
    expect(back.state.lines[399]).to.equal("line 399");
  });

  it("takes bursts of large proposals, and refuses empty and huge ones", async () => {
    await begin(3);
    const leader = await cluster.leader();
    const large = Array.from({ length: 40 }, (_, i) => leader.log.propose(Buffer.alloc(200_000, 97 + (i % 26))));
    await Promise.all([...large, leader.log.propose(Buffer.alloc(2 << 20, 98))]);
    await sameState(41);
    expect(await codeOf(leader.log.propose(Buffer.alloc((2 << 20) + 1)))).to.equal("invalid");
    expect(await codeOf(leader.log.propose(Buffer.alloc(0)))).to.equal("invalid");
  });

  it("sets a folder up again when the first start was interrupted", async () => {
    cluster = new TestCluster();
    const walOptions = { disk: nodeDisk, segmentBytes: 1 << 20, logger: silentLogger, keys: testKeys() };
    const identity = { raftId: 1, clusterId: "test-cluster" };
    const { wal } = await openWal({ ...walOptions, dir: path.join(cluster.root, "m1", "wal") }, identity);
    await wal.close();
    await cluster.bootstrap(1);
    await (await cluster.leader()).log.propose(bytes("x"));
  });

  it("stops for good when the disk fails, and says so", async () => {
    let broken = false;
    const disk: Disk = {
      ...nodeDisk,
      open: (file, mode) => {
        const real = nodeDisk.open(file, mode);
        return { ...real, sync: () => (broken ? Promise.reject(new Error("EIO")) : real.sync()) };
      },
    };
    await begin(1, { disk });
    const only = await cluster.leader();
    await only.log.propose(bytes("before"));
    broken = true;
    expect(await codeOf(only.log.propose(bytes("x")))).to.equal("unknown_outcome");
    expect((only.fatal as Error).message).to.equal("EIO");
    expect(await codeOf(only.log.propose(bytes("y")))).to.equal("unavailable");
    expect(await codeOf(only.log.readBarrier())).to.equal("unavailable");
    only.fatal = null;
  });

  it("takes no proposals when its disk is full, hands over, and goes on when there is space again", async () => {
    const full = new Set<string>();
    const noSpace = () => Object.assign(new Error("no space left on device"), { code: "ENOSPC" });
    const isFull = (file: string) => [...full].some((dir) => file.startsWith(dir));
    const disk: Disk = {
      ...nodeDisk,
      open: (file, mode) => {
        if (mode === "create" && isFull(file)) throw noSpace();
        const real = nodeDisk.open(file, mode);
        return { ...real, fillTo: (size) => (isFull(file) ? Promise.reject(noSpace()) : real.fillTo(size)) };
      },
    };
    await begin(3, { disk, segmentBytes: 1 << 16, snapshotEvery: 50, keepEntries: 10 });
    const first = await cluster.leader();
    await proposeMany(first, 0, 10);
    full.add(first.dir);
    let acknowledged = 10;
    // Seven segments: more than what the full disk has room for.
    while (acknowledged < 150) {
      const leader = await cluster.leader();
      const error = await leader.log.propose(Buffer.alloc(3000, 97)).catch((e) => e);
      if (error instanceof Error) {
        expect((error as TswarmError).code).to.be.oneOf(["unavailable", "not_leader", "unknown_outcome"]);
        await new Promise((resolve) => setTimeout(resolve, 5));
      } else acknowledged++;
    }
    const second = await cluster.leader();
    expect(second).to.not.equal(first);
    expect(first.log.health().problem).to.match(/disk of manager node-. is full: 1 MiB are needed/);
    expect(second.log.health().problem).to.equal("");
    full.clear();
    await waitFor("the first one to catch up", () => first.state.lines.length === second.state.lines.length);
    expect(first.log.health().problem).to.equal("");
    expect(first.state.lines.length).to.be.at.least(acknowledged);
    await first.log.stop();
  });

  it("refuses what has no room when it is alone, saying why, and still reads", async () => {
    let full = false;
    const disk: Disk = {
      ...nodeDisk,
      open: (file, mode) => {
        const real = nodeDisk.open(file, mode);
        const noSpace = Object.assign(new Error("no space left on device"), { code: "ENOSPC" });
        return { ...real, fillTo: (size) => (full ? Promise.reject(noSpace) : real.fillTo(size)) };
      },
    };
    await begin(1, { disk, segmentBytes: 1 << 16 });
    const only = await cluster.leader();
    full = true;
    const codes = new Set<string>();
    for (let i = 0; i < 40; i++) codes.add(await codeOf(only.log.propose(Buffer.alloc(3000, 97))));
    expect([...codes]).to.deep.equal(["resolved", "unavailable"]);
    const error = await only.log.propose(bytes("x")).catch((e) => e);
    expect(error.message).to.match(/disk of manager node-1 is full/);
    await only.log.readBarrier();
    full = false;
    await waitFor("room", () => only.log.health().problem === "");
    full = true;
    cluster.kill(only);
    const refused = await cluster.restart(only).catch((e) => e);
    expect(refused.message).to.match(/the disk is full: 1 MiB are needed for the log in/);
    full = false;
    await cluster.restart(only);
    await (await cluster.leader()).log.propose(bytes("again"));
    expect((await cluster.leader()).state.lines.at(-1)).to.equal("again");
  });

  it("lets a known node join again only while it has nothing", async () => {
    await begin(1);
    await cluster.leader();
    const member = await cluster.join("node-b");
    await waitFor("a second voter", () => cluster.members[0]!.log.status().members.every((m) => m.voter));
    expect(await codeOf(cluster.join("node-b"))).to.equal("conflict");
    expect(readRaftIdentity(member.dir)).to.include({ raftId: 2, clusterId: "test-cluster" });
  });

  it("does not open a folder twice", async () => {
    await begin(1);
    const [only] = cluster.members;
    expect(await codeOf(cluster.restart(only!))).to.equal("conflict");
    cluster.kill(only!);
    expect(await codeOf(cluster.restart(only!))).to.equal("resolved");
  });
});
