import { expect } from "chai";
import type { KernelEvent } from "./events.ts";
import { NamespaceEvents } from "./namespace-events.ts";
import { Rtnl } from "./rtnl.ts";
import { type ScratchNetns, scratchNetns } from "./scratch-netns.ts";

describe("events of several namespaces", () => {
  let home: ScratchNetns;
  let others: ScratchNetns[];
  let seen: { ns: string; event: KernelEvent }[];
  let events: NamespaceEvents;

  beforeEach(() => {
    home = scratchNetns();
    others = [scratchNetns(), scratchNetns(), scratchNetns()];
    seen = [];
    events = new NamespaceEvents(home.path, (ns, event) => seen.push({ ns, event }));
    others.slice(0, 2).forEach((other, i) => {
      events.add(`n${i}`, other.path);
    });
  });
  afterEach(() => {
    events.close();
    for (const ns of [home, ...others]) ns.remove();
  });

  const until = async (condition: () => boolean): Promise<void> => {
    for (events.drain(); !condition(); events.drain()) await new Promise((done) => setTimeout(done, 1));
  };
  const topics = (ns: string): Set<string> => new Set(seen.filter((s) => s.ns === ns).map((s) => s.event.topic));
  const damage = ({ exec }: ScratchNetns): void => {
    exec("ip", "link", "add", "dev", "a", "type", "bridge");
    exec("ip", "link", "set", "dev", "a", "up");
    exec("ip", "addr", "add", "10.3.0.1/24", "dev", "a");
    exec("ip", "route", "add", "10.4.0.0/16", "dev", "a", "proto", "144");
    exec("ip", "rule", "add", "pref", "77", "table", "7");
    exec("ip", "neigh", "add", "10.3.0.9", "lladdr", "02:00:00:00:00:09", "dev", "a");
    exec("sysctl", "-qw", "net.ipv4.ip_forward=1");
    exec("nft", "add table inet mine; add chain inet mine c");
  };
  const EVERYTHING = ["link", "addr", "route", "rule", "neigh", "forwarding", "nft"];

  it("tells which one they are about, and nothing of others", async () => {
    for (const ns of [home, ...others]) damage(ns);
    await until(() => EVERYTHING.every((topic) => ["", "n0", "n1"].every((ns) => topics(ns).has(topic))));
    expect(new Set(seen.map((s) => s.ns))).to.deep.equal(new Set(["", "n0", "n1"]));
    expect(seen.filter((s) => s.event.topic === "nft" && s.event.table === "inet mine")).not.to.have.length(0);
  });

  it("does not mention neighbours that the kernel learns by itself", async () => {
    damage(others[0]!);
    others[0]!.exec("ip", "neigh", "add", "10.3.0.8", "lladdr", "02:00:00:00:00:08", "dev", "a", "nud", "stale");
    others[0]!.exec("ip", "neigh", "del", "10.3.0.9", "dev", "a");
    await until(() => seen.some((s) => s.event.topic === "neigh" && s.event.gone));
    const mentioned = seen.flatMap((s) => (s.event.topic === "neigh" ? [s.event.neighbour.address] : []));
    expect(mentioned).to.include("10.3.0.9");
    expect(mentioned).not.to.include("10.3.0.8");
  });

  it("hands over at once what is there, and forgets", () => {
    damage(others[0]!);
    events.drain();
    expect(topics("n0")).to.include("nft");
    seen = [];
    events.forget("n0");
    others[0]!.exec("ip", "link", "del", "dev", "a");
    events.drain();
    expect(seen).to.deep.equal([]);
    events.add("n0", others[0]!.path);
    others[0]!.exec("ip", "link", "add", "dev", "b", "type", "bridge");
    events.drain();
    expect(topics("n0")).to.include("link");
  });

  it("says when events were lost, and goes on", () => {
    const rtnl = Rtnl.open(others[0]!.path);
    rtnl.linkAdd({ name: "a", up: true, spec: { kind: "veth", peer: { name: "b", up: true } } });
    for (let round = 0; round < 40; round++) {
      const op = round % 2 === 0 ? "neigh-replace" : "neigh-del";
      const entry = (i: number) => ({ link: "a", address: `10.3.${i >> 8}.${i & 255}`, mac: "02:00:00:00:00:02" });
      rtnl.neighBatch(Array.from({ length: 500 }, (_, i) => ({ op, ...entry(i + 1) })));
    }
    rtnl.close();
    events.drain();
    expect(seen.some((s) => s.event.topic === "overrun")).to.equal(true);
    seen = [];
    others[1]!.exec("ip", "link", "add", "dev", "b", "type", "bridge");
    events.drain();
    expect(topics("n1")).to.include("link");
  });
});
