import { expect } from "chai";
import { seededRandom } from "#base/random.ts";
import type { DnsBackend, DnsNetwork, DnsService, DnsZone } from "#net/model/dns.ts";
import { indexZone, resolve, reverseName } from "./zone.ts";

const backend = (slot: string, ip: string, more: Partial<DnsBackend> = {}): DnsBackend => ({
  slot,
  name: "",
  ipv4: ip,
  ipv6: "",
  taskId: "",
  ...more,
});
const service = (name: string, more: Partial<DnsService> = {}): DnsService => ({
  name,
  stack: "",
  aliases: [],
  mode: "vip",
  vip4: "",
  vip6: "",
  backends: [],
  ...more,
});
const network = (name: string, services: DnsService[], more: Partial<DnsNetwork> = {}): DnsNetwork => ({
  name,
  aliases: [],
  internal: false,
  services,
  ...more,
});

const web = service("shop_web", {
  stack: "shop",
  aliases: ["www"],
  vip4: "10.0.0.2",
  vip6: "fd00::2",
  backends: [
    backend("1", "10.0.0.3", { name: "shop_web.1.abc", ipv6: "fd00::3", taskId: "abc" }),
    backend("2", "10.0.0.4", { name: "shop_web.2.def", taskId: "def" }),
  ],
});
const db = service("shop_db", {
  stack: "shop",
  mode: "dnsrr",
  vip4: "10.0.0.99",
  backends: [backend("1", "10.0.0.5")],
});
const idle = service("idle", { mode: "dnsrr" });
const otherDb = service("blog_db", { stack: "blog", vip4: "10.0.0.6" });
const zone: DnsZone = {
  stack: "shop",
  networks: [
    network("shop_front", [otherDb, web, db, idle], { aliases: ["front"] }),
    network("back", [
      service("shop_web", { stack: "shop", vip4: "10.1.0.2" }),
      service("only-back", { vip4: "10.1.0.7" }),
    ]),
  ],
};

/** "A 10.0.0.2" per record in sorted order, or the kind of the verdict. */
const ask = (z: DnsZone, name: string, type: string): string => {
  const verdict = resolve(indexZone(z), name, type, seededRandom(1));
  return verdict.kind === "records"
    ? verdict.records
        .map((r) => r.data)
        .sort()
        .join(" ")
    : verdict.kind;
};

describe("names of a container's networks", () => {
  for (const [name, type, expected] of [
    ["shop_web", "A", "10.0.0.2"],
    ["web", "A", "10.0.0.2"],
    ["WeB", "AAAA", "fd00::2"],
    ["www", "A", "10.0.0.2"],
    ["web.shop_front", "A", "10.0.0.2"],
    ["web.front", "A", "10.0.0.2"],
    ["web.back", "A", "10.1.0.2"],
    ["only-back", "A", "10.1.0.7"],
    ["tasks.web", "A", "10.0.0.3 10.0.0.4"],
    ["tasks.web", "AAAA", "fd00::3"],
    ["tasks.www.front", "A", "10.0.0.3 10.0.0.4"],
    ["tasks.web.back", "A", "nodata"],
    ["1.web", "A", "10.0.0.3"],
    ["2.web", "AAAA", "nodata"],
    ["web.2", "A", "10.0.0.4"],
    ["shop_web.2", "A", "10.0.0.4"],
    ["shop_web.2.def", "A", "10.0.0.4"],
    ["abc.shop_front", "A", "10.0.0.3"],
    ["3.web", "A", "forward"],
    ["db", "A", "10.0.0.5"],
    ["db", "AAAA", "nodata"],
    ["blog_db", "A", "10.0.0.6"],
    ["idle", "A", "nodata"],
    ["tasks.idle", "A", "nodata"],
    ["web", "MX", "nodata"],
    ["2.0.0.10.in-addr.arpa", "PTR", "shop_web.shop_front"],
    ["4.0.0.10.in-addr.arpa", "PTR", "shop_web.2.def.shop_front"],
    ["5.0.0.10.in-addr.arpa", "PTR", "shop_db.1.shop_front"],
    ["5.0.0.10.in-addr.arpa", "A", "nodata"],
    // A service in mode dnsrr has no virtual address, whatever was left over.
    ["99.0.0.10.in-addr.arpa", "PTR", "forward"],
    [reverseName("fd00::3"), "PTR", "shop_web.1.abc.shop_front"],
    ["example.org", "A", "forward"],
  ] as const) {
    it(`${name} ${type} → ${expected}`, () => expect(ask(zone, name, type)).to.equal(expected));
  }

  it("prefers the asker's stack, then the name to the alias, then the earlier network", () => {
    const nginx = network("n", [
      service("a_db", { stack: "a", vip4: "10.0.0.1" }),
      service("b_db", { stack: "b", vip4: "10.0.0.2" }),
      service("other", { aliases: ["cache"], vip4: "10.0.0.3" }),
      service("cache", { vip4: "10.0.0.4" }),
    ]);
    expect(ask({ stack: "a", networks: [nginx] }, "db", "A")).to.equal("10.0.0.1");
    expect(ask({ stack: "b", networks: [nginx] }, "db", "A")).to.equal("10.0.0.2");
    expect(ask({ stack: "", networks: [nginx] }, "db", "A")).to.equal("10.0.0.1 10.0.0.2");
    expect(ask({ stack: "a", networks: [nginx] }, "cache", "A")).to.equal("10.0.0.4");
    const later = network("m", [service("a_db", { stack: "a", vip4: "10.9.0.1" })]);
    expect(ask({ stack: "a", networks: [nginx, later] }, "db", "A")).to.equal("10.0.0.1");
    // The own stack wins even from a later network.
    expect(
      ask(
        { stack: "a", networks: [network("x", [service("b_db", { stack: "b", vip4: "10.0.0.2" })]), later] },
        "db",
        "A",
      ),
    ).to.equal("10.9.0.1");
  });

  it("forwards nothing when every network is internal", () => {
    const closed = { ...zone, networks: zone.networks.map((n) => ({ ...n, internal: true })) };
    expect(ask(closed, "example.org", "A")).to.equal("nxdomain");
    expect(ask(closed, "web", "A")).to.equal("10.0.0.2");
    expect(ask({ stack: "", networks: [] }, "example.org", "A")).to.equal("nxdomain");
  });

  it("shuffles, so that every backend comes first sometimes", () => {
    const index = indexZone(zone);
    const random = seededRandom(7);
    const firsts = new Set<string>();
    for (let i = 0; i < 50; i++) {
      const verdict = resolve(index, "tasks.web", "A", random);
      if (verdict.kind === "records") firsts.add(verdict.records[0]!.data);
    }
    expect([...firsts].sort()).to.deep.equal(["10.0.0.3", "10.0.0.4"]);
  });
});
