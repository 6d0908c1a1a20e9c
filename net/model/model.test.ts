import { expect } from "chai";
import fc from "fast-check";
import { canonicalAddress, contains, formatIpv6, parseAddress, splitPrefix } from "#net/model/cidr.ts";
import { bridgeName, egressName, hostEndName, isOurHostName, MAX_IFNAME_BYTES } from "#net/model/ifname.ts";
import { deriveMac } from "#net/model/mac.ts";

const anyId = fc.stringMatching(/^[0-9a-z]{25}$/);

describe("addresses", () => {
  it("are written as RFC 5952 says", () => {
    const cases = [
      ["2001:DB8:0:0:1:0:0:1", "2001:db8::1:0:0:1"],
      ["0:0:0:0:0:0:0:0", "::"],
      ["2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"],
      ["fd00:0001::0a", "fd00:1::a"],
      ["10.1.0.7", "10.1.0.7"],
    ] as const;
    for (const [text, canonical] of cases) expect(canonicalAddress(text)).to.equal(canonical);
  });

  it("survive the way to numbers and back", () => {
    fc.assert(fc.property(fc.bigInt({ min: 0n, max: (1n << 128n) - 1n }), (n) => parseAddress(formatIpv6(n)) === n));
  });

  it("are refused when they are none", () => {
    for (const text of ["10.1.0", "10.1.0.256", "fd00::1::2", "fd00:1", "g::", "1:2:3:4:5:6:7:8::", ""])
      expect(() => parseAddress(text), text).to.throw(RangeError);
    for (const text of ["10.0.0.1", "10.0.0.1/33", "fd00::/129", "/8"])
      expect(() => splitPrefix(text), text).to.throw(RangeError);
  });

  it("are in a prefix or not", () => {
    expect(contains("10.1.0.0/23", "10.1.1.255")).to.equal(true);
    expect(contains("10.1.0.0/23", "10.1.2.0")).to.equal(false);
    expect(contains("fd00:1::/64", "fd00:1::ffff")).to.equal(true);
    expect(contains("0.0.0.0/0", "::1")).to.equal(false);
  });
});

describe("names of links", () => {
  it("fit, keep to the shape of ours, and differ when ids do", () => {
    fc.assert(
      fc.property(anyId, anyId, (a, b) => {
        const names = [
          bridgeName(a, "n"),
          hostEndName(`c-${a}`, "eth0"),
          hostEndName(`c-${a}`, "eth1"),
          egressName(16777215),
        ];
        for (const name of names) expect(name.length <= MAX_IFNAME_BYTES && isOurHostName(name), name).to.equal(true);
        expect(new Set(names).size).to.equal(names.length);
        if (a !== b) expect(hostEndName(`c-${b}`, "eth0")).not.to.equal(names[1]);
      }),
    );
  });

  it("of others are not ours", () => {
    for (const name of ["eth0", "docker0", "tsp0", "ts1", "tse", "tsv123", "ts-short"])
      expect(isOurHostName(name), name).to.equal(false);
  });
});

describe("MACs", () => {
  it("are unicast and locally administered, and the same for the same id", () => {
    expect(deriveMac("a")).to.match(/^02(:[0-9a-f]{2}){5}$/);
    expect(deriveMac("a")).to.equal(deriveMac("a"));
    expect(deriveMac("a")).not.to.equal(deriveMac("b"));
  });
});
