import { readlinkSync } from "node:fs";
import { expect } from "chai";
import { CAPABILITIES, probeCapabilities } from "./capabilities.ts";
import { Rtnl } from "./rtnl.ts";

describe("capabilities of the kernel", () => {
  it("probes in a namespace of its own and gives a reason for what is missing", () => {
    const home = readlinkSync("/proc/thread-self/ns/net");
    const rtnl = Rtnl.open(null);
    const before = rtnl.linkDump().map((l) => l.name);
    const found = probeCapabilities();
    expect(Object.keys(found)).to.have.members([...CAPABILITIES]);
    for (const needed of ["veth", "bridge", "vxlan", "nftables", "nft-nat"] as const)
      expect(found[needed], needed).to.equal("");
    for (const reason of Object.values(found)) expect(reason).to.match(/^$|: E[A-Z]+, |^nft: |^there is no/);
    expect(rtnl.linkDump().map((l) => l.name)).to.deep.equal(before);
    expect(readlinkSync("/proc/thread-self/ns/net")).to.equal(home);
    rtnl.close();
  });
});
