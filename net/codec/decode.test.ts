import { expect } from "chai";
import { decodeAddr } from "./address-message.ts";
import { decodeLink } from "./link.ts";
import { decodeFdb, decodeNeigh } from "./neigh.ts";
import { ReplyReader } from "./nlmsg.ts";
import { decodeRoute } from "./route.ts";
import { decodeRule } from "./rule.ts";
import { GOLDEN_SEQUENCE, goldenDatagrams } from "./testing/golden.ts";

const read = (name: string): ReplyReader => {
  const reader = new ReplyReader(GOLDEN_SEQUENCE);
  const complete = goldenDatagrams(name).map((d) => reader.push(d));
  // Complete with the last datagram, not before.
  expect(complete.indexOf(true), name).to.equal(complete.length - 1);
  return reader;
};
const decoded = <T>(name: string, decode: (payload: Uint8Array) => T): T[] => {
  const reader = read(name);
  expect(reader.acknowledgement).to.deep.equal({ errno: 0, text: "", offset: undefined });
  expect(reader.interrupted).to.equal(false);
  return reader.messages.map((m) => decode(m.payload));
};

// What the kernel was told is in net/kernel/capture-testdata.ts.
describe("decoders on a real kernel's dumps", () => {
  it("links of every kind", () => {
    const links = new Map(decoded("link-dump", decodeLink).map((l) => [l.name, l]));
    expect([...links.keys()]).to.have.members(["lo", "br0", "v0", "v1", "vx4", "vx6", "mv"]);
    const br0 = links.get("br0")!;
    expect(br0).to.deep.include({
      kind: "bridge",
      mtu: 1450,
      up: true,
      address: "02:00:00:00:00:01",
      alias: "tswarm:network",
      bridge: { mcastSnooping: false, stp: false, vlanFiltering: false },
    });
    const v0 = links.get("v0")!;
    expect(v0).to.include({
      kind: "veth",
      group: 77,
      masterIndex: br0.index,
      linkIndex: links.get("v1")!.index,
      linkNetnsId: undefined,
    });
    expect(v0.port).to.deep.equal({
      hairpin: false,
      isolated: true,
      learning: false,
      unicastFlood: true,
      mcastFlood: true,
      bcastFlood: true,
      neighSuppress: true,
    });
    expect(links.get("vx4")!.vxlan).to.deep.equal({
      id: 4097,
      local: "10.9.0.1",
      port: 4789,
      learning: false,
      proxy: true,
      ttl: 64,
      udpChecksum: true,
    });
    expect(links.get("vx6")!.vxlan).to.deep.equal({
      id: 16777215,
      local: "fd09::1",
      port: 4790,
      learning: false,
      proxy: false,
      ttl: 0,
      udpChecksum: false,
    });
    expect(links.get("mv")).to.include({
      kind: "macvlan",
      macvlanMode: "private",
      linkIndex: links.get("v1")!.index,
      up: false,
    });
    expect(links.get("lo")).to.include({ kind: "", alias: undefined });
  });

  it("addresses", () => {
    const addresses = decoded("addr-dump", decodeAddr);
    expect(addresses.find((a) => a.cidr === "10.1.0.2/24")).to.include({
      family: "inet",
      scope: "global",
      noPrefixRoute: false,
    });
    expect(addresses.find((a) => a.cidr === "192.0.2.1/32")).to.include({ noPrefixRoute: true });
    expect(addresses.find((a) => a.cidr === "fd01::2/64")).to.include({ family: "inet6", tentative: false });
    expect(addresses.find((a) => a.cidr === "::1/128")).to.include({ scope: "host" });
    expect(addresses.some((a) => a.cidr.startsWith("fe80::") && a.tentative)).to.equal(true);
  });

  it("routes", () => {
    const routes = [...decoded("route-dump-inet", decodeRoute), ...decoded("route-dump-inet6", decodeRoute)];
    const ours = routes.filter((r) => r.protocol === 117).map(({ linkIndex: _, ...r }) => r);
    const common = {
      source: undefined,
      protocol: 117,
      type: "unicast",
      scope: "global",
      mtuBytes: undefined,
      onlink: false,
    };
    expect(ours).to.have.deep.members([
      { ...common, family: "inet", destination: "default", gateway: "10.1.0.1", table: 254, metric: 50 },
      {
        ...common,
        family: "inet",
        destination: "10.7.0.0/16",
        gateway: "10.1.0.1",
        table: 1007,
        metric: 0,
        mtuBytes: 1400,
      },
      {
        ...common,
        family: "inet",
        destination: "10.8.0.0/16",
        gateway: undefined,
        table: 254,
        metric: 0,
        type: "unreachable",
      },
      { ...common, family: "inet6", destination: "fd07::/48", gateway: "fd01::1", table: 254, metric: 1024 },
    ]);
    expect(routes.find((r) => r.destination === "10.1.0.2/32")).to.include({
      type: "local",
      scope: "host",
      table: 255,
    });
  });

  it("rules", () => {
    expect(
      [...decoded("rule-dump-inet", decodeRule), ...decoded("rule-dump-inet6", decodeRule)].filter(
        (r) => r.priority >= 900 && r.priority < 1000,
      ),
    ).to.deep.equal([
      { family: "inet", priority: 900, table: 1007, mark: 0x100, mask: 0xff00, protocol: 117 },
      { family: "inet", priority: 901, table: 7, from: "10.1.0.0/24", inputName: "v1", protocol: 0 },
      { family: "inet6", priority: 902, table: 1007, to: "fd01::/64", protocol: 0 },
    ]);
  });

  it("neighbours and forwarding entries", () => {
    expect(decoded("neigh-dump-inet", decodeNeigh)).to.deep.equal([
      { linkIndex: 5, family: "inet", address: "10.1.0.9", mac: "02:00:00:00:00:09", state: "permanent" },
    ]);
    const entries = decoded("fdb-dump", decodeFdb).filter((e) => e.mac === "02:00:00:00:00:09");
    expect(entries.map((e) => [e.destination, e.self, e.masterIndex])).to.have.deep.members([
      ["10.9.0.2", true, undefined],
      [undefined, false, 2],
    ]);
  });

  it("refusals, with the kernel's words when it has some", () => {
    expect(read("error-extended").acknowledgement).to.deep.equal({
      errno: 101,
      text: "Nexthop has invalid gateway",
      offset: undefined,
    });
    expect(read("error-plain").acknowledgement).to.deep.equal({ errno: 19, text: "", offset: undefined });
  });
});
