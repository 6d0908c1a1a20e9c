// Three managers' services on loopback, each with a log in memory that says what the test wants.
import { type Client, Server, ServerCredentials } from "@grpc/grpc-js";
import { expect } from "chai";
import { realClock } from "#base/node/system.ts";
import { seededRandom } from "#base/random.ts";
import { createMemoryLog, type MemoryLog, member } from "#control-plane/log/memory-log.ts";
import { createReplicatedState } from "#control-plane/manager/replicated-state.ts";
import { createQuorumService } from "#control-plane/quorum/quorum-service.ts";
import { createState } from "#control-plane/state/state.ts";
import { QuorumDefinition } from "#proto/gen/quorum.ts";
import { createClient, openChannel } from "#proto/rpc/client.ts";
import { addService } from "#proto/rpc/server.ts";

type Manager = { readonly log: MemoryLog; readonly address: string; readonly server: Server };

describe("quorum service", () => {
  const managers: Manager[] = [];
  const channels: Client[] = [];
  const dial = (address: string): Client => {
    const channel = openChannel(address);
    channels.push(channel);
    return channel;
  };
  const ask = (n: number) => createClient(QuorumDefinition, dial(managers[n - 1]!.address)).status({});

  beforeEach(async () => {
    for (const raftId of [1, 2, 3]) {
      const replicated = createReplicatedState(createState(), realClock, seededRandom(raftId));
      const log = createMemoryLog(replicated.machine);
      const server = new Server();
      const service = createQuorumService({ log, state: replicated.state, clock: realClock, dial, logBytes: () => 42 });
      addService(server, QuorumDefinition, service);
      const port = await new Promise<number>((resolve, reject) =>
        server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (e, p) => (e ? reject(e) : resolve(p))),
      );
      managers.push({ log, server, address: `127.0.0.1:${port}` });
    }
    const members = managers.map(({ address }, i) => member(i + 1, `n${i + 1}`, { addr: address, match: 10 }));
    for (const [i, { log }] of managers.entries())
      log.become({ raftId: i + 1, isLeader: i === 0, leaderId: 1, term: 2, commit: 10, applied: 10, members });
  });
  afterEach(() => {
    for (const channel of channels.splice(0)) channel.close();
    for (const { server } of managers.splice(0)) server.forceShutdown();
  });

  it("gathers what all say, on each of them", async () => {
    for (const n of [1, 2, 3]) {
      const status = await ask(n);
      expect(status).to.include({ leaderNodeId: "n1", answeredBy: `n${n}`, reachableVoters: 3, canLose: 1, term: 2 });
      expect(status.members.map((m) => [m.role, m.own?.logBytes])).to.deep.equal([
        ["leader", 42],
        ["follower", 42],
        ["follower", 42],
      ]);
      expect(status.warnings).to.deep.equal([]);
    }
  });

  it("answers from the manager that is left, also when the others are gone", async () => {
    managers[0]!.server.forceShutdown();
    managers[1]!.server.forceShutdown();
    managers[2]!.log.become({ leaderId: 0 });
    const status = await ask(3);
    expect(status).to.include({ leaderNodeId: "", reachableVoters: 1, needed: 2 });
    expect(status.members.map((m) => m.reachable)).to.deep.equal([false, false, true]);
    expect(status.warnings[0]).to.contain("no quorum");
  });

  it("another manager under a member's address is not taken for that member", async () => {
    const { members } = managers[0]!.log.status();
    const wrong = members.map((m) => (m.raftId === 2 ? { ...m, addr: managers[2]!.address, reachable: false } : m));
    managers[0]!.log.become({ members: wrong });
    const status = await ask(1);
    expect(status.members.map((m) => m.reachable)).to.deep.equal([true, false, true]);
  });
});
