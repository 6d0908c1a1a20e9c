import type { Client } from "@grpc/grpc-js";
import { expect } from "chai";
import { type FindLeader, findLeader } from "#control-plane/manager/find-leader.ts";

/** A follower on virtual time: who leads when, and who can be reached. */
const follower = (leaders: (now: number) => string, up: readonly string[], own = "own:1") => {
  let now = 0;
  const dialed: string[] = [];
  const options: FindLeader = {
    own,
    leadership: {
      leading: () => leaders(now) === own,
      leaderAddr: () => leaders(now),
      async settled(timeoutMs) {
        for (const end = now + timeoutMs; leaders(now) === "" && now < end; ) now++;
      },
    },
    dial(address) {
      dialed.push(address);
      return address as unknown as Client;
    },
    async connected(channel, timeoutMs) {
      if (up.includes(channel as unknown as string)) return true;
      now += timeoutMs;
      return false;
    },
    clock: { now: () => now, monotonic: () => now, after: () => () => {} },
  };
  return { find: () => findLeader(options), dialed, now: () => now };
};

describe("find leader", () => {
  it("is this manager, or the one that leads", async () => {
    expect(await follower(() => "own:1", []).find()).to.equal(undefined);
    expect(await follower(() => "b:1", ["b:1"]).find()).to.equal("b:1");
  });

  it("waits for an election to end", async () => {
    const { find, dialed } = follower((now) => (now < 1_700 ? "" : "b:1"), ["b:1"]);
    expect(await find()).to.equal("b:1");
    expect(dialed).to.deep.equal(["b:1"]);
  });

  it("a dead leader that is still named is not asked; the next one is, or this manager itself", async () => {
    const other = follower((now) => (now < 1_200 ? "dead:1" : now < 1_500 ? "" : "b:1"), ["b:1"]);
    expect(await other.find()).to.equal("b:1");
    expect(await follower((now) => (now < 1_200 ? "dead:1" : "own:1"), []).find()).to.equal(undefined);
  });

  it("refuses after 5 s", async () => {
    for (const leader of ["", "dead:1"]) {
      const { find, now } = follower(() => leader, []);
      expect(await find().catch((e: unknown) => e)).to.have.property("code", "unavailable");
      expect(now()).to.equal(5_000);
    }
  });
});
