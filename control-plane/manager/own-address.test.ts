import { type Client, Server, ServerCredentials } from "@grpc/grpc-js";
import { expect } from "chai";
import { TswarmError } from "#base/errors.ts";
import { silentLogger } from "#base/log.ts";
import { createManualClock } from "#control-plane/controllers/manual-clock.ts";
import { createMemoryLog, type MemoryLog, member } from "#control-plane/log/memory-log.ts";
import { keepAddress } from "#control-plane/manager/own-address.ts";
import { ControlDefinition } from "#proto/gen/control.ts";
import { openChannel } from "#proto/rpc/client.ts";
import { addService, type Handlers } from "#proto/rpc/server.ts";

const settle = () => new Promise<void>((resolve) => setTimeout(resolve, 20));

describe("a manager's own address", () => {
  let log: MemoryLog;
  let clock: ReturnType<typeof createManualClock>;
  const servers: Server[] = [];
  const channels: Client[] = [];
  let stop = () => {};
  beforeEach(() => {
    log = createMemoryLog({ apply: () => {}, restore: async () => {}, snapshot: () => [] });
    clock = createManualClock();
  });
  afterEach(() => {
    stop();
    for (const channel of channels.splice(0)) channel.close();
    for (const server of servers.splice(0)) server.forceShutdown();
  });

  const keep = (advertise: string) => {
    const dial = (address: string): Client => {
      channels.push(openChannel(address));
      return channels.at(-1)!;
    };
    stop = keepAddress({ log, advertise, dial, clock, logger: silentLogger });
  };
  const manager = async (moved: (addr: string) => void): Promise<string> => {
    const server = new Server();
    servers.push(server);
    const handlers = {
      moveManager: async ({ addr }: { addr: string }) => {
        moved(addr);
        return {};
      },
    };
    addService(server, ControlDefinition, handlers as unknown as Handlers<ControlDefinition>);
    const port = await new Promise<number>((resolve, reject) =>
      server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (e, p) => (e ? reject(e) : resolve(p))),
    );
    return `127.0.0.1:${port}`;
  };
  const follower = (...others: string[]) =>
    log.become({
      ...{ raftId: 1, isLeader: false, leaderId: 0 },
      members: [
        member(1, "n1", { addr: "old:2377" }),
        ...others.map((addr, i) => member(i + 2, `n${i + 2}`, { addr })),
      ],
    });

  it("is told to whoever of the others answers, until the quorum has it", async () => {
    const told: string[] = [];
    let refusals = 1;
    const answering = await manager((addr) => {
      if (refusals-- > 0) throw new TswarmError("unavailable", "an election is under way");
      told.push(addr);
    });
    follower("127.0.0.1:1", answering);
    keep("new:2377");
    while (told.length === 0) {
      await clock.pass(1_000);
      await settle();
    }
    expect(told[0]).to.equal("new:2377");
    log.become({ members: [member(1, "n1", { addr: "new:2377" })] });
    await clock.pass(1_000);
    await settle();
    const before = told.length;
    await clock.pass(10_000);
    await settle();
    expect(told).to.have.length(before);
  });

  it("the leader changes it itself", async () => {
    log.become({ members: [member(1, "n1", { addr: "old:2377" })] });
    keep("new:2377");
    await settle();
    expect(log.status().members.some((m) => m.addr === "new:2377")).to.equal(true);
  });

  it("nobody is asked when it is as the quorum has it", async () => {
    const told: string[] = [];
    follower(await manager((addr) => told.push(addr)));
    keep("old:2377");
    await settle();
    await clock.pass(10_000);
    await settle();
    expect(told).to.deep.equal([]);
  });
});
