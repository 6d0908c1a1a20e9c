import { expect } from "chai";
import fc from "fast-check";
import { seededRandom } from "#base/random.ts";
import { familyOf, parseAddress } from "#net/model/cidr.ts";
import type { DnsBackend, DnsService } from "#net/model/dns.ts";
import { NetworkNames } from "./network-names.ts";
import { reversedAddress } from "./reverse.ts";
import { resolve, type Zone, type ZoneNetwork } from "./zone.ts";

/** "2.0.0.10.in-addr.arpa", nibbles for IPv6. */
const reverseName = (address: string): string => {
  const v4 = familyOf(address) === 4;
  const digits = parseAddress(address)
    .toString(16)
    .padStart(v4 ? 8 : 32, "0");
  if (!v4) return `${[...digits].reverse().join(".")}.ip6.arpa`;
  const bytes = digits.match(/../g)!.map((pair) => Number.parseInt(pair, 16));
  return `${bytes.reverse().join(".")}.in-addr.arpa`;
};

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
  ports: [],
  ...more,
});
const namesOf = (services: Iterable<DnsService>): NetworkNames => {
  const names = new NetworkNames();
  names.update(services);
  return names;
};
const network = (name: string, services: DnsService[], more: Partial<ZoneNetwork> = {}): ZoneNetwork => ({
  name,
  suffixes: [name],
  internal: false,
  subnets: [],
  names: namesOf(services),
  ...more,
});

const web = service("shop_web", {
  stack: "shop",
  aliases: ["www"],
  vip4: "10.0.0.2",
  vip6: "fd00::2",
  ports: [
    { name: "http", protocol: "tcp", port: 8080 },
    { name: "quic", protocol: "udp", port: 8443 },
  ],
  backends: [
    backend("1", "10.0.0.3", { name: "shop_web.1.abc", ipv6: "fd00::3", taskId: "abc" }),
    backend("2", "10.0.0.4", { name: "shop_web.2.def", taskId: "def" }),
  ],
});
const db = service("shop_db", {
  stack: "shop",
  mode: "dnsrr",
  vip4: "10.0.0.99",
  backends: [backend("1", "10.0.0.5"), backend("", "10.0.0.8", { taskId: "0123456789abcdef" })],
  ports: [{ name: "sql", protocol: "tcp", port: 5432 }],
});
const idle = service("idle", { mode: "dnsrr" });
const otherDb = service("blog_db", { stack: "blog", vip4: "10.0.0.6" });
const zone: Zone = {
  stack: "shop",
  networks: [
    network("shop_front", [otherDb, web, db, idle], {
      suffixes: ["shop_front", "front"],
      subnets: ["10.0.0.0/24", "fd00::/64"],
    }),
    network("back", [
      service("shop_web", { stack: "shop", vip4: "10.1.0.2" }),
      service("only-back", { vip4: "10.1.0.7" }),
    ]),
  ],
};

/** The data of each record in sorted order, or the kind of the verdict. */
const ask = (z: Zone, name: string, type: string): string => {
  const verdict = resolve(z, name, type, seededRandom(1));
  return verdict.kind === "records"
    ? verdict.answers
        .map((r) => (r.type === "SRV" ? `${r.data}:${r.port}` : r.data))
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
    ["3.web", "A", "nxdomain"],
    ["web.3.front", "A", "nxdomain"],
    ["1.unknown", "A", "unknown"],
    ["db", "A", "10.0.0.5 10.0.0.8"],
    // A container's default hostname, and its whole id.
    ["0123456789ab", "A", "10.0.0.8"],
    ["0123456789ABCDEF.front", "A", "10.0.0.8"],
    ["0123456789a", "A", "unknown"],
    ["web", "ANY", "10.0.0.2 fd00::2"],
    ["_http._tcp.web", "SRV", "shop_web.shop_front:8080"],
    ["_HTTP._TCP.web.front", "SRV", "shop_web.shop_front:8080"],
    ["_http._tcp.tasks.web", "SRV", "shop_web.1.abc.shop_front:8080 shop_web.2.def.shop_front:8080"],
    ["_quic._udp.2.web", "SRV", "shop_web.2.def.shop_front:8443"],
    ["_sql._tcp.db", "SRV", "0123456789abcdef.shop_front:5432 shop_db.1.shop_front:5432"],
    ["_http._udp.web", "SRV", "nxdomain"],
    ["_http._tcp.web", "A", "nodata"],
    ["_http._tcp.idle", "SRV", "nxdomain"],
    ["_http._tcp.example.org", "SRV", "unknown"],
    ["tasks.unknown", "A", "nxdomain"],
    ["tasks.unknown.front", "A", "nxdomain"],
    ["unknown.shop_front", "A", "nxdomain"],
    // Networks are called like domains of the Internet.
    ["unknown.front", "A", "unknown"],
    ["tasks.example.org", "A", "unknown"],
    ["db", "AAAA", "nodata"],
    ["blog_db", "A", "10.0.0.6"],
    ["idle", "A", "nodata"],
    ["tasks.idle", "A", "nodata"],
    ["web", "MX", "nodata"],
    ["2.0.0.10.in-addr.arpa", "PTR", "shop_web.shop_front"],
    ["4.0.0.10.in-addr.arpa", "PTR", "shop_web.2.def.shop_front"],
    ["5.0.0.10.in-addr.arpa", "PTR", "shop_db.1.shop_front"],
    ["8.0.0.10.in-addr.arpa", "PTR", "shop_db.shop_front"],
    ["5.0.0.10.in-addr.arpa", "A", "nodata"],
    // A service in mode dnsrr has no virtual address, whatever was left over.
    ["99.0.0.10.in-addr.arpa", "PTR", "nxdomain"],
    ["1.0.0.10.in-addr.arpa", "PTR", "nxdomain"],
    ["0.0.10.in-addr.arpa", "PTR", "unknown"],
    ["8.8.8.8.in-addr.arpa", "PTR", "unknown"],
    [reverseName("fd00::99"), "PTR", "nxdomain"],
    [reverseName("fd00::3"), "PTR", "shop_web.1.abc.shop_front"],
    ["example.org", "A", "unknown"],
    ["unknown", "A", "unknown"],
    ["", "A", "unknown"],
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

  it("SRV records bring the addresses of their targets, which can be asked for as well", () => {
    const verdict = resolve(zone, "_http._tcp.tasks.web", "SRV", seededRandom(1));
    if (verdict.kind !== "records") throw new Error(verdict.kind);
    const sorted = verdict.additionals.map((r) => `${r.name} ${r.type} ${r.data}`).sort();
    expect(sorted).to.deep.equal([
      "shop_web.1.abc.shop_front A 10.0.0.3",
      "shop_web.1.abc.shop_front AAAA fd00::3",
      "shop_web.2.def.shop_front A 10.0.0.4",
    ]);
    for (const { name, type, data } of verdict.additionals) expect(ask(zone, name!, type)).to.equal(data);
  });

  it("reads back the reverse names that it writes, and nothing else", () => {
    for (const address of ["10.0.0.2", "255.255.255.255", "fd00::1:2", "::"])
      expect(reversedAddress(reverseName(address))).to.equal(address);
    for (const name of [
      "in-addr.arpa",
      "1.2.3.in-addr.arpa",
      "1.2.3.4.5.in-addr.arpa",
      "256.1.1.1.in-addr.arpa",
      "a.ip6.arpa",
    ])
      expect(reversedAddress(name)).to.equal(undefined);
  });

  it("after any updates knows exactly the names of the services that are left", () => {
    const base = fc.constantFrom("a", "b", "s_c", "s_d");
    const anyService = fc
      .tuple(base, fc.subarray(["b", "x", "s_c"]), fc.boolean(), fc.nat(3), fc.nat(200))
      .map(([name, aliases, vip, count, at]) =>
        service(name, {
          stack: name.startsWith("s_") ? "s" : "",
          aliases,
          mode: vip ? "vip" : "dnsrr",
          vip4: "10.0.9.9",
          backends: Array.from({ length: count }, (_, i) =>
            backend(String(i + 1), `10.0.${at}.${i}`, {
              name: `${name}.${i + 1}`,
              taskId: `task-of-${name}-${at}-${i}`,
            }),
          ),
        }),
      );
    const lookups = ["a", "b", "c", "s_c", "x", "1.a", "a.1", "tasks.x", "2.b", "tasks.c", "task-of-a-1-0"];
    const shown = (names: NetworkNames) =>
      [...lookups.map((name) => names.find(name)), names.pointers("10.0.1.0")].map((found) =>
        found?.map((h) => (typeof h === "string" ? h : JSON.stringify(h))).sort(),
      );
    fc.assert(
      fc.property(
        fc.array(fc.array(fc.nat(9), { maxLength: 6 }), { maxLength: 8 }),
        fc.array(anyService, { minLength: 10, maxLength: 10 }),
        (steps, pool) => {
          const names = new NetworkNames();
          for (const step of steps) {
            const present = new Set(step.map((i) => pool[i]!));
            names.update(present);
            expect(shown(names)).to.deep.equal(shown(namesOf(present)));
          }
        },
      ),
      { numRuns: 200, seed: 1 },
    );
  });

  it("shuffles, so that every backend comes first sometimes", () => {
    const random = seededRandom(7);
    const firsts = new Set<string>();
    for (let i = 0; i < 50; i++) {
      const verdict = resolve(zone, "tasks.web", "A", random);
      if (verdict.kind === "records") firsts.add(verdict.answers[0]!.data);
    }
    expect([...firsts].sort()).to.deep.equal(["10.0.0.3", "10.0.0.4"]);
  });
});
