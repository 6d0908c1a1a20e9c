import { expect } from "chai";
import fc from "fast-check";
import { capacity, firstAddress, insideOf, nextFree } from "./addresses.ts";
import { freeSubnet, uniqueLocalPool } from "./pools.ts";
import { blockOf, canonicalPrefix, hasHostBits, overlap, readBlock, within } from "./prefix.ts";

describe("ipam", () => {
  it("reads and writes prefixes in canonical form", () => {
    expect(canonicalPrefix("10.1.2.3/16")).to.equal("10.1.0.0/16");
    expect(canonicalPrefix("FD00:0:0:1::5/64")).to.equal("fd00:0:0:1::/64");
    expect([hasHostBits("10.0.0.1/24"), hasHostBits("10.0.0.0/24"), hasHostBits("fd00:0::/64")]).to.deep.equal([
      true,
      false,
      false,
    ]);
    expect(() => blockOf("10.0.0.0/33")).to.throw(RangeError);
  });

  it("goes on after the last address and comes round", () => {
    const space = { subnet: "10.0.0.0/29", range: "" };
    expect(capacity(space)).to.equal(6);
    expect(nextFree(space, new Set(["10.0.0.1"]))).to.equal("10.0.0.2");
    expect(nextFree(space, new Set(["10.0.0.1"]), "10.0.0.5")).to.equal("10.0.0.6");
    expect(nextFree(space, new Set(["10.0.0.1"]), "10.0.0.6")).to.equal("10.0.0.2");
    const all = new Set([1, 2, 3, 4, 5, 6].map((n) => `10.0.0.${n}`));
    expect(nextFree(space, all, "10.0.0.3")).to.equal(undefined);
    expect(nextFree({ subnet: "fd00::/64", range: "" }, new Set(["fd00::1"]))).to.equal("fd00::2");
    expect(nextFree({ subnet: "10.0.0.0/24", range: "10.0.0.64/30" }, new Set(["10.0.0.64"]))).to.equal("10.0.0.65");
    expect(firstAddress("fd00:1::/64")).to.equal("fd00:1::1");
  });

  it("knows what hosts may have, in a subnet and in a range of it", () => {
    const inside = insideOf({ subnet: "10.0.0.0/24", range: "" });
    expect(["10.0.0.0", "10.0.0.1", "10.0.0.254", "10.0.0.255", "10.0.1.1", "fd00::1"].map(inside)).to.deep.equal([
      false,
      true,
      true,
      false,
      false,
      false,
    ]);
    const range = insideOf({ subnet: "10.0.0.0/24", range: "10.0.0.0/30" });
    expect(["10.0.0.0", "10.0.0.1", "10.0.0.3", "10.0.0.4"].map(range)).to.deep.equal([false, true, true, false]);
    expect(capacity({ subnet: "10.0.0.0/24", range: "10.0.0.0/30" })).to.equal(3);
    expect(capacity({ subnet: "fd00::/64", range: "" })).to.equal(Number.MAX_SAFE_INTEGER);
    expect(firstAddress("10.0.0.0/24", ["10.0.0.1", "10.0.0.2"])).to.equal("10.0.0.3");
    expect(readBlock("nonsense")).to.equal(undefined);
  });

  it("gives each cluster a unique local prefix of its own (RFC 4193)", () => {
    const local = blockOf("fd00::/8");
    const pools = Array.from({ length: 1_000 }, (_, i) => uniqueLocalPool(`cluster ${i}`));
    for (const pool of pools) expect(within(local, blockOf(pool)) && blockOf(pool).length === 48, pool).to.equal(true);
    expect(new Set(pools).size).to.equal(1_000);
  });

  it("gives out a /16 without repeating an address", () => {
    const space = { subnet: "10.0.0.0/16", range: "" };
    const held = new Set<string>();
    let last = "";
    for (let address = nextFree(space, held, last); address !== undefined; address = nextFree(space, held, last)) {
      held.add(address);
      last = address;
    }
    expect(held.size).to.equal(65534);
  });

  it("cuts subnets that are in the pool, aligned, and overlap nothing", () => {
    const blocks = fc.array(fc.tuple(fc.nat(255), fc.nat(255), fc.integer({ min: 14, max: 30 })), { maxLength: 12 });
    fc.assert(
      fc.property(blocks, fc.integer({ min: 18, max: 26 }), (raw, length) => {
        const taken = raw.map(([a, b, n]) => blockOf(`10.0.${a}.${b}/${n}`));
        const found = freeSubnet(["10.0.0.0/17"], length, taken);
        const pool = blockOf("10.0.0.0/17");
        const size = 1n << BigInt(32 - length);
        const wanted = [];
        for (let first = pool.first; first <= pool.last; first += size)
          wanted.push({ family: 4 as const, first, last: first + size - 1n, length });
        const free = wanted.find((w) => !taken.some((t) => overlap(t, w)));
        if (found === undefined) expect(free).to.equal(undefined);
        else {
          expect(blockOf(found)).to.deep.equal(free);
          expect(within(pool, blockOf(found))).to.equal(true);
        }
      }),
    );
    expect(freeSubnet(["10.0.0.0/24", "10.9.0.0/23"], 24, [blockOf("10.0.0.0/8")])).to.equal(undefined);
    expect(freeSubnet(["fd00::/48"], 64, [blockOf("fd00::/64")])).to.equal("fd00:0:0:1::/64");
  });
});
