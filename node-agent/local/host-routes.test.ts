import { expect } from "chai";
import { type ScratchNetns, scratchNetns } from "#net/kernel/scratch-netns.ts";
import { hostRoutes } from "#node-agent/local/host-routes.ts";

describe("routes of a host", () => {
  let netns: ScratchNetns;
  before(() => void (netns = scratchNetns()));
  after(() => netns.remove());

  it("are those of its links and those that were configured, without defaults and what is ours", () => {
    const ip = (command: string): void => void netns.exec("ip", ...command.split(" "));
    for (const link of ["uplink", "ts0", "shop0"]) {
      ip(`link add ${link} type bridge`);
      ip(`link set ${link} up`);
    }
    ip("addr add 192.0.2.1/24 dev uplink");
    ip("addr add 2001:db8::1/64 dev uplink nodad");
    ip("addr add 172.17.0.1/16 dev ts0");
    ip("addr add 172.20.3.1/24 dev shop0");
    ip("route add 198.51.100.0/24 via 192.0.2.9");
    ip("route add default via 192.0.2.9");
    ip("route add 203.0.113.0/24 via 192.0.2.9 table 7");
    ip("route add 10.0.0.0/16 via 192.0.2.9 protocol 144");
    const isOwn = (name: string): boolean => name === "ts0" || name === "shop0";
    expect(hostRoutes(netns.path, isOwn)).to.deep.equal(["192.0.2.0/24", "198.51.100.0/24", "2001:db8::/64"]);
  });
});
