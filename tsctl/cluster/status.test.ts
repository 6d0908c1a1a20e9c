import { expect } from "chai";
import { QuorumStatusResponse } from "#proto/gen/quorum.ts";
import { FakeCluster, NOW, tsctl } from "#tsctl/fake-cluster.ts";

const STATUS = QuorumStatusResponse.fromPartial({
  cluster: { id: "c1", spec: { name: "default", heartbeatMs: 5_000 } },
  ...{ term: 4, commit: 1_200, applied: 1_199, leaderNodeId: "n1", answeredBy: "n2", nodes: 5 },
  ...{ voters: 3, reachableVoters: 2, needed: 2, canLose: 0 },
  members: [
    {
      ...{ raftId: 1, nodeId: "n1", name: "alpha", addr: "10.0.0.1:2377", voter: true, leader: true, reachable: true },
      role: "leader",
      own: {
        ...{ commit: 1_200, applied: 1_200, snapshotIndex: 1_000, snapshotAt: NOW - 120_000, snapshotBytes: 2_500 },
        ...{ logBytes: 16_777_216, syncP50Ms: 0.61, syncP99Ms: 4.25, pendingProposals: 2 },
      },
    },
    { ...{ raftId: 2, nodeId: "n2", addr: "10.0.0.2:2377", voter: true, reachable: true, lag: 7 }, role: "" },
    { ...{ raftId: 3, nodeId: "n3", name: "gamma", addr: "10.0.0.3:2377", voter: true, heardAt: NOW - 60_000 } },
  ],
  warnings: ["gamma can't be reached."],
});

describe("tsctl cluster status", () => {
  const run = (status: QuorumStatusResponse, ...args: string[]) =>
    tsctl(new FakeCluster(), ["cluster", "status", ...args], { quorum: { status: async () => status } });

  it("shows what each manager says, what may still fail, and warnings", async () => {
    const { out, code } = await run(STATUS);
    expect(code).to.equal(0);
    expect(out).to.match(/Quorum: +2 of 3 voters reachable, can lose 0 of 2\n/);
    expect(out).to.match(/Leader: +alpha\n/);
    expect(out).to.match(
      /alpha +10\.0\.0\.1:2377 +Leader +0 +1200 +1200 +1000 \(2\.5kB, 2 minutes ago\) +16\.8MB +0\.6\/4\.3 ms +2\n/,
    );
    expect(out).to.match(/n2 +10\.0\.0\.2:2377 +Reachable +7 +- /);
    expect(out).to.match(/gamma +10\.0\.0\.3:2377 +Unreachable since about a minute +- +- /);
    expect(out).to.match(/\nWARNING: gamma can't be reached\.\n$/);
  });

  it("without a quorum says so", async () => {
    const { out } = await run({ ...STATUS, leaderNodeId: "", reachableVoters: 1, members: [STATUS.members[2]!] });
    expect(out).to.match(/Quorum: +LOST: 1 of 3 voters reachable, 2 needed\n/);
    expect(out).to.match(/Leader: +none\n/);
  });

  it("for programs", async () => {
    const { out } = await run(STATUS, "--format", "json");
    expect(JSON.parse(out)).to.deep.include({ leaderNodeId: "n1", canLose: 0 });
    expect((await run(STATUS, "--format", "{{.LeaderNodeId}}")).out).to.equal("n1\n");
  });
});
