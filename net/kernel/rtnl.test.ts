import { expect } from "chai";
import { TswarmError } from "#base/errors.ts";
import { Rtnl } from "./rtnl.ts";
import { type ScratchNetns, scratchNetns } from "./scratch-netns.ts";

const codeOf = (fn: () => void): string => {
  try {
    fn();
  } catch (error) {
    if (error instanceof TswarmError) return error.code;
    throw error;
  }
  return "no error";
};

describe("rtnetlink operations, observed by iproute2", () => {
  let host: ScratchNetns;
  let inner: ScratchNetns;
  let rtnl: Rtnl;
  let innerRtnl: Rtnl;

  beforeEach(() => {
    host = scratchNetns();
    inner = scratchNetns();
    rtnl = Rtnl.open(host.path);
    innerRtnl = Rtnl.open(inner.path);
  });
  afterEach(() => {
    rtnl.close();
    innerRtnl.close();
    host.remove();
    inner.remove();
  });

  it("makes a bridge with a veth whose other end is born in another namespace", () => {
    rtnl.linkAdd({
      name: "br0",
      mtu: 1450,
      alias: "tswarm:br",
      up: true,
      spec: { kind: "bridge", mcastSnooping: false, stp: false },
    });
    rtnl.linkAdd({
      name: "v0",
      mtu: 1450,
      master: "br0",
      up: true,
      group: 77,
      spec: {
        kind: "veth",
        peer: { name: "eth0", mtu: 1450, address: "02:42:0a:00:00:02", netns: inner.path, alias: "tswarm:c" },
      },
    });
    rtnl.linkSet("v0", { port: { isolated: true, hairpin: true, learning: false, neighSuppress: true } });

    const [bridge] = host.ip("link", "show", "br0");
    expect(bridge).to.include({ ifname: "br0", mtu: 1450, ifalias: "tswarm:br" });
    expect(bridge.flags).to.include("UP");
    expect(bridge.linkinfo.info_data).to.include({ mcast_snooping: 0, stp_state: 0 });
    const [port] = host.ip("link", "show", "v0");
    expect(port).to.include({ master: "br0", mtu: 1450, group: "77" });
    expect(port.linkinfo.info_slave_data).to.include({
      isolated: true,
      hairpin: true,
      learning: false,
      neigh_suppress: true,
    });
    const [eth0] = inner.ip("link", "show", "eth0");
    expect(eth0).to.include({ address: "02:42:0a:00:00:02", mtu: 1450, ifalias: "tswarm:c" });

    const own = rtnl.linkGet("v0")!;
    expect(own).to.deep.include({ kind: "veth", masterIndex: bridge.ifindex, group: 77, up: true, mtu: 1450 });
    expect(own.port).to.include({ isolated: true, hairpin: true, learning: false });
    expect(own.linkNetnsId).to.be.a("number");
    expect(rtnl.linkDump().map((l) => l.name)).to.have.members(["lo", "br0", "v0"]);

    rtnl.linkSet("v0", { master: null, up: false });
    expect(host.ip("link", "show", "v0")[0]).to.not.have.property("master");
    rtnl.linkDelGroup(77);
    expect(rtnl.linkGet("v0")).to.equal(undefined);
    expect(innerRtnl.linkGet("eth0")).to.equal(undefined);
  });

  it("creates VXLAN devices directly in another namespace, over IPv4 and IPv6", () => {
    const common = { kind: "vxlan", port: 4789, learning: false, proxy: true } as const;
    innerRtnl.linkAdd({ name: "br9", spec: { kind: "bridge" } });
    rtnl.linkAdd({
      name: "vx4",
      master: "br9",
      netns: inner.path,
      mtu: 1450,
      spec: { ...common, id: 4097, local: "10.9.0.1", ttl: 64, udpChecksum: true },
    });
    rtnl.linkAdd({
      name: "vx6",
      netns: inner.path,
      spec: { ...common, id: 16777215, local: "fd00::1", port: 4790, udpChecksum: false },
    });
    const [vx4] = inner.ip("link", "show", "vx4");
    expect(vx4).to.include({ master: "br9", mtu: 1450 });
    expect(vx4.linkinfo.info_data).to.include({
      id: 4097,
      local: "10.9.0.1",
      port: 4789,
      learning: false,
      proxy: true,
      ttl: 64,
      udp_csum: true,
    });
    const [vx6] = inner.ip("link", "show", "vx6");
    expect(vx6.linkinfo.info_data).to.include({ id: 16777215, local6: "fd00::1", port: 4790, udp_zero_csum6_tx: true });
    expect(innerRtnl.linkGet("vx4")!.vxlan).to.deep.equal({
      id: 4097,
      local: "10.9.0.1",
      port: 4789,
      learning: false,
      proxy: true,
      ttl: 64,
      udpChecksum: true,
    });
    expect(innerRtnl.linkGet("vx6")!.vxlan).to.include({ id: 16777215, local: "fd00::1", udpChecksum: false });
    // The UDP socket of the device stays with the namespace that asked.
    innerRtnl.linkSet("vx4", { up: true });
    expect(host.exec("ss", "-Hlun")).to.match(/:4789/);
    expect(inner.exec("ss", "-Hlun")).to.not.match(/:4789/);
  });

  it("makes a macvlan of a parent here in another namespace", () => {
    rtnl.linkAdd({ name: "parent", up: true, spec: { kind: "veth", peer: { name: "far" } } });
    rtnl.linkAdd({ name: "eth1", netns: inner.path, spec: { kind: "macvlan", mode: "bridge", parent: "parent" } });
    expect(inner.ip("link", "show", "eth1")[0].linkinfo).to.deep.include({ info_kind: "macvlan" });
    expect(innerRtnl.linkGet("eth1")).to.include({ macvlanMode: "bridge" });
  });

  it("writes addresses, routes and rules of both families", () => {
    rtnl.linkAdd({ name: "a", up: true, spec: { kind: "veth", peer: { name: "b", up: true } } });
    rtnl.addrAdd({ link: "a", cidr: "10.1.0.2/24" });
    rtnl.addrReplace({ link: "a", cidr: "10.1.0.2/24" });
    rtnl.addrAdd({ link: "a", cidr: "fd01::2/64" });
    const shown = host
      .ip("addr", "show", "a")[0]
      .addr_info.map((i: { local: string; prefixlen: number }) => `${i.local}/${i.prefixlen}`);
    expect(shown).to.include.members(["10.1.0.2/24", "fd01::2/64"]);
    expect(rtnl.addrDump().map((a) => a.cidr)).to.include.members(["10.1.0.2/24", "fd01::2/64"]);
    expect(codeOf(() => rtnl.addrAdd({ link: "a", cidr: "10.1.0.2/24" }))).to.equal("conflict");

    rtnl.routeReplace({ destination: "default", gateway: "10.1.0.1", protocol: 117, metric: 50 });
    rtnl.routeReplace({ destination: "10.7.0.0/16", gateway: "10.1.0.1", protocol: 117, table: 1007, mtuBytes: 1400 });
    rtnl.routeReplace({ destination: "fd07::/48", gateway: "fd01::1", link: "a", protocol: 117 });
    rtnl.routeReplace({ destination: "10.8.0.0/16", type: "unreachable", protocol: 117 });
    expect(host.ip("route", "show", "default")[0]).to.include({
      dst: "default",
      gateway: "10.1.0.1",
      protocol: "117",
      metric: 50,
    });
    expect(host.ip("route", "show", "table", "1007")[0].metrics[0]).to.include({ mtu: 1400 });
    expect(host.ip("-6", "route", "show", "fd07::/48")[0]).to.include({ gateway: "fd01::1", dev: "a" });
    const ours = rtnl.routeDump().filter((r) => r.protocol === 117);
    expect(ours.map((r) => `${r.type} ${r.destination} ${r.table}`)).to.have.members([
      "unicast default 254",
      "unicast 10.7.0.0/16 1007",
      "unicast fd07::/48 254",
      "unreachable 10.8.0.0/16 254",
    ]);
    expect(rtnl.routeGet("192.0.2.1")).to.include({ gateway: "10.1.0.1", source: "10.1.0.2" });
    rtnl.routeDel({ destination: "10.7.0.0/16", protocol: 117, table: 1007 });
    rtnl.routeDel({ destination: "10.8.0.0/16", protocol: 117, type: "unreachable" });
    expect(codeOf(() => rtnl.routeDel({ destination: "10.7.0.0/16", protocol: 117, table: 1007 }))).to.equal(
      "not_found",
    );

    rtnl.ruleAdd({ family: "inet", priority: 900, table: 1007, mark: 0x100, mask: 0xff00, protocol: 117 });
    rtnl.ruleAdd({ family: "inet6", priority: 901, table: 1007, from: "fd01::/64" });
    expect(host.ip("rule", "show", "pref", "900")[0]).to.include({ fwmark: "0x100", fwmask: "0xff00", table: "1007" });
    expect(rtnl.ruleDump().filter((r) => r.table === 1007)).to.have.deep.members([
      { family: "inet", priority: 900, table: 1007, mark: 0x100, mask: 0xff00, protocol: 117 },
      { family: "inet6", priority: 901, table: 1007, from: "fd01::/64", protocol: 0 },
    ]);
    rtnl.ruleDel({ family: "inet", priority: 900, table: 1007, mark: 0x100, mask: 0xff00 });
    expect(host.ip("rule", "show", "pref", "900")).to.deep.equal([]);
    rtnl.addrDel({ link: "a", cidr: "10.1.0.2/24" });
    expect(rtnl.addrDump().map((a) => a.cidr)).to.not.include("10.1.0.2/24");
  });

  it("writes neighbours and forwarding entries, singly and in a batch", () => {
    rtnl.linkAdd({ name: "br0", up: true, spec: { kind: "bridge" } });
    rtnl.linkAdd({
      name: "vx",
      master: "br0",
      up: true,
      spec: { kind: "vxlan", id: 7, local: "10.9.0.1", port: 4789, learning: false, proxy: true },
    });
    rtnl.neighReplace({ link: "vx", address: "10.1.0.9", mac: "02:00:00:00:00:09" });
    rtnl.neighReplace({ link: "vx", address: "fd01::9", mac: "02:00:00:00:00:09" });
    rtnl.fdbReplace({ link: "vx", mac: "02:00:00:00:00:09", destination: "10.9.0.2" });
    rtnl.fdbReplace({ link: "vx", mac: "02:00:00:00:00:09", destination: "10.9.0.3" });
    rtnl.fdbReplace({ link: "vx", mac: "02:00:00:00:00:09" });
    rtnl.fdbAppend({ link: "vx", mac: "00:00:00:00:00:00", destination: "10.9.0.3" });
    rtnl.fdbAppend({ link: "vx", mac: "00:00:00:00:00:00", destination: "10.9.0.4" });
    const neighbours = [...host.ip("neigh", "show", "dev", "vx"), ...host.ip("-6", "neigh", "show", "dev", "vx")];
    expect(neighbours).to.deep.include({ dst: "10.1.0.9", lladdr: "02:00:00:00:00:09", state: ["PERMANENT"] });
    expect(neighbours.map((n) => n.dst)).to.include("fd01::9");
    const fdb = host.bridge("fdb", "show", "dev", "vx") as {
      mac: string;
      dst?: string;
      master?: string;
      flags: string[];
    }[];
    expect(fdb.filter((e) => e.mac === "02:00:00:00:00:09" && e.dst)).to.have.length(1);
    expect(fdb.find((e) => e.mac === "02:00:00:00:00:09" && e.dst)).to.include({ dst: "10.9.0.3" });
    expect(fdb.find((e) => e.mac === "02:00:00:00:00:09" && e.master)).to.include({ master: "br0" });
    expect(fdb.filter((e) => e.mac === "00:00:00:00:00:00").map((e) => e.dst)).to.have.members([
      "10.9.0.3",
      "10.9.0.4",
    ]);
    expect(
      rtnl
        .fdbDump()
        .filter((e) => e.destination)
        .map((e) => `${e.mac} ${e.destination} ${e.self}`),
    ).to.have.members([
      "02:00:00:00:00:09 10.9.0.3 true",
      "00:00:00:00:00:00 10.9.0.3 true",
      "00:00:00:00:00:00 10.9.0.4 true",
    ]);
    expect(rtnl.neighDump().find((n) => n.address === "10.1.0.9")).to.include({
      mac: "02:00:00:00:00:09",
      state: "permanent",
    });

    const results = rtnl.neighBatch(
      Array.from({ length: 1500 }, (_, i) =>
        i === 700
          ? ({ op: "fdb-del", link: "vx", mac: "02:ff:ff:ff:ff:ff", destination: "10.9.0.2" } as const)
          : ({
              op: "fdb-replace",
              link: "vx",
              mac: `02:01:00:00:${(i >> 8).toString(16).padStart(2, "0")}:${(i & 255).toString(16).padStart(2, "0")}`,
              destination: "10.9.0.5",
            } as const),
      ),
    );
    expect(results.flatMap((r, i) => (r === null ? [] : [[i, r.code]]))).to.deep.equal([[700, "not_found"]]);
    expect(rtnl.fdbDump().filter((e) => e.destination === "10.9.0.5")).to.have.length(1499);
    rtnl.fdbDel({ link: "vx", mac: "02:00:00:00:00:09", destination: "10.9.0.3" });
    rtnl.neighDel({ link: "vx", address: "10.1.0.9", mac: "02:00:00:00:00:09" });
    expect(rtnl.neighDump().map((n) => n.address)).to.not.include("10.1.0.9");
  });

  it("says in the kernel's words why it refused", () => {
    rtnl.linkAdd({ name: "br0", spec: { kind: "bridge" } });
    expect(codeOf(() => rtnl.linkAdd({ name: "br0", spec: { kind: "bridge" } }))).to.equal("conflict");
    expect(codeOf(() => rtnl.linkDel("nope"))).to.equal("not_found");
    expect(() => rtnl.routeReplace({ destination: "10.0.0.0/8", gateway: "192.0.2.9", protocol: 117 })).to.throw(
      TswarmError,
      /route replace 10\.0\.0\.0\/8 via 192\.0\.2\.9: ENETUNREACH.*\(Nexthop has invalid gateway\)/,
    );
    expect(() => rtnl.linkAdd({ name: "d0", spec: { kind: "nope" } as never })).to.throw(
      /EOPNOTSUPP.*Unknown device type/,
    );
  });
});
