import { expect } from "chai";
import { TswarmError } from "#base/errors.ts";
import { closeFd } from "./libc.ts";
import { listTable, runNft } from "./nft.ts";
import { type ScratchNetns, scratchNetns } from "./scratch-netns.ts";
import { tcpListenerIn, udpSocketIn } from "./sockets.ts";

describe("nftables in process, observed by nft", () => {
  let ns: ScratchNetns;
  beforeEach(() => {
    ns = scratchNetns();
  });
  afterEach(() => ns.remove());

  it("applies a ruleset in a namespace and lists it", () => {
    runNft(
      ns.path,
      "table inet tswarm { map m { type ipv4_addr : ipv4_addr; elements = { 10.0.0.1 : 10.0.0.2 };\n }\n chain c { type nat hook prerouting priority -100; dnat ip to ip daddr map @m; }\n}",
    );
    expect(ns.exec("nft", "list", "table", "inet", "tswarm")).to.contain("10.0.0.1 : 10.0.0.2");
    expect(listTable(ns.path, "inet", "tswarm")!.map((o) => Object.keys(o)[0])).to.have.members([
      "table",
      "map",
      "chain",
      "rule",
    ]);
    expect(listTable(ns.path, "inet", "other")).to.equal(undefined);
  });

  it("does all of a text or nothing, and tells why", () => {
    runNft(ns.path, "add table inet t");
    expect(() => runNft(ns.path, "add chain inet t ok; add rule inet t missing accept")).to.throw(
      TswarmError,
      /missing/,
    );
    expect(ns.exec("nft", "list", "table", "inet", "t")).to.not.contain("ok");
    expect(() => runNft(ns.path, "add bogus")).to.throw(TswarmError, /syntax error/);
  });

  it("is left the descriptors that it can wait for by the sockets of containers", () => {
    const fds = [udpSocketIn(ns.path, "127.0.0.1", 0), tcpListenerIn(ns.path, "127.0.0.1", 0)];
    for (const fd of fds) closeFd(fd);
    for (const fd of fds) expect(fd).to.be.at.least(1024);
  });
});
