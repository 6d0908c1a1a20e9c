import { expect } from "chai";
import { quorumView } from "#control-plane/quorum/status.ts";
import { QuorumMember, type QuorumPeer } from "#proto/gen/quorum.ts";

const peer = (raftId: number, more: Partial<QuorumPeer> = {}): QuorumPeer => ({
  ...{
    raftId,
    nodeId: `n${raftId}`,
    addr: `10.0.0.${raftId}:2377`,
    voter: true,
    reachable: true,
    match: 0,
    heardAt: 0,
  },
  ...more,
});
const report = (raftId: number, role: string, peers: QuorumPeer[], more: Partial<QuorumMember> = {}): QuorumMember =>
  QuorumMember.fromPartial({ raftId, role, term: 3, commit: 100, applied: 100, lastIndex: 100, peers, ...more });
const view = (own: QuorumMember, ...others: QuorumMember[]) =>
  quorumView(own, new Map(others.map((o) => [o.raftId, o])), (nodeId) => nodeId.replace("n", "node"));

describe("quorum status", () => {
  const peers = [peer(1, { match: 100 }), peer(2, { match: 98 }), peer(3, { match: 100 })];

  it("of three healthy managers, asked on any of them", () => {
    const reports = [report(1, "leader", peers), report(2, "follower", peers), report(3, "follower", peers)] as const;
    for (const own of reports) {
      const got = view(own, ...reports.filter((r) => r !== own));
      expect(got).to.include({ leaderNodeId: "n1", voters: 3, reachableVoters: 3, needed: 2, canLose: 1, term: 3 });
      expect(got.warnings).to.deep.equal([]);
      expect(got.members.map((m) => [m.name, m.role, m.lag])).to.deep.equal([
        ["node1", "leader", 0],
        ["node2", "follower", 2],
        ["node3", "follower", 0],
      ]);
    }
  });

  it("warns when states have parted, at the newest index that both remember", () => {
    const digests = (...list: [number, string][]) => ({ digests: list.map(([index, digest]) => ({ index, digest })) });
    const own = report(1, "leader", peers, digests([64, "a"], [128, "b"], [192, "c"]));
    const same = report(2, "follower", peers, digests([64, "a"], [128, "b"]));
    const other = report(3, "follower", peers, digests([128, "b"], [192, "x"], [256, "y"]));
    const unknown = report(3, "follower", peers, digests([256, "y"]));
    expect(view(own, same, unknown).warnings).to.deep.equal([]);
    const { warnings } = view(own, same, other);
    expect(warnings).to.have.length(1);
    expect(warnings[0]).to.contain("the state of node3 is another one than that of node1");
  });

  it("warns when no more may be lost, of lag, of learners, of slow disks, of one and of two managers", () => {
    const gone = [peers[0]!, peer(2, { reachable: false, heardAt: 7 }), peers[2]!];
    const two = view(report(1, "leader", gone), report(3, "follower", gone));
    expect(two).to.include({ reachableVoters: 2, canLose: 0 });
    expect(two.members[1]).to.include({ reachable: false, heardAt: 7, role: "" });
    expect(two.warnings.join("\n")).to.contain("node2 can't be reached").and.contain("can lose no more manager");

    const learning = [
      peer(1, { match: 5_000 }),
      peer(2, { match: 3_000 }),
      peer(3, { match: 5_000 }),
      peer(4, { voter: false }),
    ];
    const busy = view(
      report(1, "leader", learning, { commit: 5_000 }),
      report(2, "follower", learning),
      report(3, "follower", learning, { syncP99Ms: 600 }),
      report(4, "learner", learning),
    );
    expect(busy).to.include({ voters: 3, canLose: 1 });
    expect(busy.warnings).to.have.length(4);
    expect(busy.warnings.join("\n"))
      .to.contain("node4 is catching up")
      .and.contain("node2 is 2000 entries behind")
      .and.contain("the disk of node3 is slow: 600 ms");

    expect(view(report(1, "leader", [peer(1)])).warnings.join()).to.contain("Promote two more");
    const pair = [peer(1), peer(2)];
    expect(view(report(1, "leader", pair), report(2, "follower", pair)).warnings.join()).to.contain("Promote a third");
  });

  it("without a quorum says who is missing, since when, and on which manager to recover", () => {
    const seen = [peer(1), peer(2, { reachable: false, heardAt: 500 }), peer(3, { reachable: false, heardAt: 700 })];
    const alone = view(report(1, "candidate", seen));
    expect(alone).to.include({ leaderNodeId: "", reachableVoters: 1, needed: 2, canLose: 0 });
    expect(alone.members.map((m) => m.heardAt)).to.deep.equal([0, 500, 700]);
    const [what, todo] = alone.warnings;
    expect(what).to.contain("no quorum: 1 of 3 managers can be reached, 2 are needed");
    expect(todo).to.contain("bring node2, node3 back").and.contain("recover --force-new-cluster` on node1");

    const five = [1, 2, 3, 4, 5].map((n) => peer(n));
    const pair = view(report(1, "candidate", five), report(4, "candidate", five, { lastIndex: 120 }));
    expect(pair.warnings[1]).to.contain("on node4, which has the newest log");
    expect(pair.members.map((m) => m.lag)).to.deep.equal([20, 0, 0, 0, 0]);
  });

  it("an election under way is no lost quorum", () => {
    const got = view(report(1, "candidate", peers), report(2, "follower", peers));
    expect(got.warnings.join()).to.contain("an election is under way").and.not.contain("recover");
  });

  it("believes the leader of the higher term, and what it reaches although the manager that was asked does not", () => {
    const old = report(1, "leader", peers, { term: 3 });
    const now = report(3, "leader", peers, { term: 4 });
    expect(view(old, now)).to.include({ leaderNodeId: "n3", term: 4 });
    expect(view(old, now).members[1]).to.include({ reachable: true, role: "" });
  });

  it("a removed manager is told how to rejoin", () => {
    const got = view(report(1, "removed", peers));
    expect(got.warnings).to.have.length(1);
    expect(got.warnings[0]).to.contain("tsctl cluster leave --force");
  });
});
