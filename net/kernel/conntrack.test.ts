import { expect } from "chai";
import { deleteFlows, dumpedFlows, listedFlows } from "./conntrack.ts";
import { NETLINK_NETFILTER, NetlinkSocket } from "./netlink-socket.ts";
import { type ScratchNetns, scratchNetns } from "./scratch-netns.ts";

describe("flows of a namespace, observed by conntrack", () => {
  let ns: ScratchNetns;
  beforeEach(() => {
    ns = scratchNetns();
  });
  afterEach(() => ns.remove());
  const add = (...args: string[]) => void ns.exec("sh", "-c", `conntrack -I ${args.join(" ")} --timeout 600 2>&1`);
  const translations = (family: string): string[] =>
    ns
      .exec("sh", "-c", `conntrack -L -f ${family} 2>/dev/null`)
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => `${line.split(" ")[0]} ${[...line.matchAll(/src=(\S+)/g)][1]![1]}`)
      .sort();

  it("deletes those that are stale, of both families, and no other", () => {
    const udp = (source: string, vip: string, backend: string, port: number) =>
      add("-p", "udp", "-s", source, "-d", vip, "--sport", String(port), "--dport", "53", "--dst-nat", backend);
    udp("10.0.0.2", "10.0.0.100", "10.0.0.7", 5000);
    udp("10.0.0.2", "10.0.0.100", "10.0.0.8", 5001);
    udp("fd00::2", "fd00::100", "fd00::7", 5000);
    udp("fd00::2", "fd00::100", "fd00::8", 5001);
    const tcp = ["-p", "tcp", "-s", "10.0.0.2", "-d", "10.0.0.100", "--sport", "1", "--dport", "80"];
    add(...tcp, "--dst-nat", "10.0.0.7", "--state", "ESTABLISHED");
    const gone = new Set(["10.0.0.7", "fd00::7"]);
    expect(deleteFlows(ns.path, (f) => f.reply.protocol === 17 && gone.has(f.reply.source))).to.equal(2);
    expect(translations("ipv4")).to.deep.equal(["tcp 10.0.0.7", "udp 10.0.0.8"]);
    expect(translations("ipv6")).to.deep.equal(["udp fd00::8"]);
    expect(deleteFlows(ns.path, (f) => gone.has(f.reply.source))).to.equal(1);
    expect(translations("ipv4")).to.deep.equal(["udp 10.0.0.8"]);
  });

  it("finds the same in the list of /proc and in a dump", () => {
    add("-p", "udp", "-s", "10.0.0.2", "-d", "10.0.0.100", "--sport", "7", "--dport", "53", "--dst-nat", "10.0.0.7");
    add("-p", "tcp", "-s", "fd00::2", "-d", "fd00::9", "--sport", "1", "--dport", "80", "--state", "SYN_SENT");
    const socket = NetlinkSocket.open(ns.path, NETLINK_NETFILTER);
    try {
      expect(dumpedFlows(socket)).to.have.length(2);
      expect(listedFlows(ns.path)).to.have.deep.members(dumpedFlows(socket));
      // Of this namespace alone.
      expect(listedFlows(null)?.some((flow) => flow.reply.source === "10.0.0.7")).to.equal(false);
    } finally {
      socket.close();
    }
  });

  it("leaves a later flow of the same client and port alone", () => {
    const udp = ["-p", "udp", "-s", "10.0.0.2", "-d", "10.0.0.100", "--sport", "7", "--dport", "53", "--dst-nat"];
    add(...udp, "10.0.0.7");
    const reused = deleteFlows(ns.path, (flow) => {
      ns.exec("sh", "-c", "conntrack -D -p udp 2>&1");
      add(...udp, "10.0.0.8");
      return flow.reply.source === "10.0.0.7";
    });
    expect(reused).to.equal(1);
    expect(translations("ipv4")).to.deep.equal(["udp 10.0.0.8"]);
  });

  it("deletes many at once, and none where there is none", () => {
    expect(
      deleteFlows(ns.path, () => {
        throw new Error("there is none");
      }),
    ).to.equal(0);
    for (let i = 0; i < 40; i++)
      add("-p", "udp", "-s", "10.0.0.2", "-d", "10.0.0.100", "--sport", String(5000 + i), "--dport", "53");
    expect(deleteFlows(ns.path, (f) => f.original.sourcePort !== 5007)).to.equal(39);
    expect(translations("ipv4")).to.have.length(1);
  });
});
