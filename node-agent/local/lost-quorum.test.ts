import { type Client, Server, ServerCredentials } from "@grpc/grpc-js";
import { expect } from "chai";
import { TswarmError } from "#base/errors.ts";
import { refuseWithQuorum } from "#node-agent/local/lost-quorum.ts";
import { QuorumDefinition, QuorumStatusResponse } from "#proto/gen/quorum.ts";
import { openChannel } from "#proto/rpc/client.ts";
import { addService } from "#proto/rpc/server.ts";

describe("whether a manager may go on alone", () => {
  const servers: Server[] = [];
  const channels: Client[] = [];
  afterEach(() => {
    for (const channel of channels.splice(0)) channel.close();
    for (const server of servers.splice(0)) server.forceShutdown();
  });

  const dial = (address: string): Client => {
    channels.push(openChannel(address));
    return channels.at(-1)!;
  };
  /** A manager that says so. */
  const manager = async (status: Parameters<typeof QuorumStatusResponse.fromPartial>[0]): Promise<Client> => {
    const server = new Server();
    servers.push(server);
    addService(server, QuorumDefinition, {
      member: () => Promise.reject(new Error("not asked for")),
      status: async () => QuorumStatusResponse.fromPartial({ voters: 3, needed: 2, answeredBy: "n1", ...status }),
      async *backup() {},
    });
    const port = await new Promise<number>((resolve, reject) =>
      server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (e, p) => (e ? reject(e) : resolve(p))),
    );
    return dial(`127.0.0.1:${port}`);
  };
  const nobody = () => dial("127.0.0.1:1");
  const refusal = async (work: Promise<void>): Promise<string> => {
    const error = TswarmError.from(
      await work.then(
        () => expect.fail("not refused"),
        (e) => e,
      ),
    );
    expect(error.code).to.equal("conflict");
    return error.message;
  };

  it("when nobody sees a quorum, or nobody answers", async () => {
    await refuseWithQuorum(await manager({ reachableVoters: 1 }), [nobody(), await manager({ reachableVoters: 1 })]);
    await refuseWithQuorum(undefined, [nobody()]);
    await refuseWithQuorum(undefined, []);
  });

  it("not while there is a leader, whoever knows it, nor during an election", async () => {
    const leader = { nodeId: "n2", name: "beta", addr: "10.0.0.2:2377", leader: true };
    const led = { reachableVoters: 2, members: [leader] };
    for (const [own, others] of [
      [await manager(led), []],
      [await manager({ reachableVoters: 1 }), [nobody(), await manager(led)]],
      [undefined, [await manager(led)]],
    ] as const)
      expect(await refusal(refuseWithQuorum(own, others)))
        .to.contain("2 of 3 managers")
        .and.contain("beta (10.0.0.2:2377) leads");
    expect(await refusal(refuseWithQuorum(await manager({ reachableVoters: 2 }), []))).to.contain(
      "an election is under way",
    );
  });

  it("not when it was removed: the others go on", async () => {
    const own = await manager({ reachableVoters: 1, members: [{ nodeId: "n1", role: "removed" }] });
    expect(await refusal(refuseWithQuorum(own, [])))
      .to.contain("removed")
      .and.contain("tsctl cluster leave --force");
  });
});
