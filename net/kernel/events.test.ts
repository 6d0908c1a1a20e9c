import { expect } from "chai";
import { type KernelEvent, watchNetns } from "./events.ts";
import { Rtnl } from "./rtnl.ts";
import { type ScratchNetns, scratchNetns } from "./scratch-netns.ts";

describe("kernel events", () => {
  let ns: ScratchNetns;
  let rtnl: Rtnl;
  let seen: KernelEvent[];
  let watcher: { close(): void } | undefined;

  beforeEach(() => {
    ns = scratchNetns();
    rtnl = Rtnl.open(ns.path);
    seen = [];
  });
  afterEach(() => {
    watcher?.close();
    rtnl.close();
    ns.remove();
  });

  const until = async (condition: () => boolean): Promise<void> => {
    while (!condition()) await new Promise((done) => setTimeout(done, 1));
  };

  it("reports links, addresses, routes, neighbours and forwarding entries of the namespace", async () => {
    watcher = watchNetns(ns.path, ["link", "addr", "route", "neigh", "rule"], (e) => seen.push(e));
    rtnl.linkAdd({ name: "a", up: true, spec: { kind: "veth", peer: { name: "b", up: true } } });
    ns.exec("ip", "addr", "add", "10.3.0.1/24", "dev", "a");
    rtnl.routeReplace({ destination: "10.4.0.0/16", gateway: "10.3.0.2", protocol: 117 });
    rtnl.neighReplace({ link: "a", address: "10.3.0.2", mac: "02:00:00:00:00:02" });
    rtnl.linkAdd({
      name: "vx",
      up: true,
      spec: { kind: "vxlan", id: 3, local: "10.3.0.1", port: 4789, learning: false, proxy: true },
    });
    rtnl.fdbReplace({ link: "vx", mac: "02:00:00:00:00:03", destination: "10.3.0.2" });
    ns.exec("ip", "rule", "add", "pref", "77", "table", "7");
    ns.exec("ip", "link", "del", "dev", "a");
    await until(() => seen.some((e) => e.topic === "link" && e.gone && e.link.name === "a"));
    expect(seen.some((e) => e.topic === "addr" && !e.gone && e.address.cidr === "10.3.0.1/24")).to.equal(true);
    expect(seen.some((e) => e.topic === "route" && !e.gone && e.route.destination === "10.4.0.0/16")).to.equal(true);
    expect(seen.some((e) => e.topic === "neigh" && !e.gone && e.neighbour.address === "10.3.0.2")).to.equal(true);
    expect(seen.some((e) => e.topic === "fdb" && !e.gone && e.entry.destination === "10.3.0.2")).to.equal(true);
    expect(seen.some((e) => e.topic === "rule" && !e.gone && e.rule.priority === 77)).to.equal(true);
  });

  it("says when events were lost, and goes on", async () => {
    watcher = watchNetns(ns.path, ["neigh"], (e) => seen.push(e));
    rtnl.linkAdd({ name: "a", up: true, spec: { kind: "veth", peer: { name: "b", up: true } } });
    const entry = (i: number) => ({ link: "a", address: `10.3.${i >> 8}.${i & 255}`, mac: "02:00:00:00:00:02" });
    // The loop does not turn meanwhile, so the socket's buffer has to take them all.
    for (let round = 0; round < 40; round++) {
      const op = round % 2 === 0 ? "neigh-replace" : "neigh-del";
      rtnl.neighBatch(Array.from({ length: 500 }, (_, i) => ({ op, ...entry(i + 1) })));
    }
    await until(() => seen.some((e) => e.topic === "overrun"));
    seen = [];
    rtnl.neighReplace(entry(1000));
    await until(() => seen.some((e) => e.topic === "neigh" && e.neighbour.address === "10.3.3.232"));
  });
});
