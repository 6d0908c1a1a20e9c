import { expect } from "chai";
import type { TswarmError } from "#base/errors.ts";
import { advertiseAddress, hostPort, listenAddress } from "#node-agent/local/advertise-address.ts";

describe("advertised address", () => {
  const one = new Map([["eth0", ["192.0.2.1", "2001:db8::1"]]]);
  const two = new Map([...one, ["eth1", ["198.51.100.1"]]]);
  const none = new Map<string, string[]>();

  for (const [given, own, host, port] of [
    ["", one, "192.0.2.1", 2377],
    ["", new Map([["eth0", ["2001:db8::1"]]]), "2001:db8::1", 2377],
    ["192.0.2.1", two, "192.0.2.1", 2377],
    ["192.0.2.1:3000", two, "192.0.2.1", 3000],
    ["eth1", two, "198.51.100.1", 2377],
    ["eth1:3000", two, "198.51.100.1", 3000],
    ["2001:db8::1", two, "2001:db8::1", 2377],
    ["[2001:db8::1]:3000", two, "2001:db8::1", 3000],
    ["[2001:db8::1]", two, "2001:db8::1", 2377],
    ["2001:DB8:0:0::1", two, "2001:db8::1", 2377],
  ] as const)
    it(`"${given}" of ${[...own.keys()].join(" ")}`, () =>
      expect(advertiseAddress(given, own)).to.deep.equal({ host, port }));

  for (const [given, own, reason] of [
    ["", none, /no address but loopback/],
    ["", two, /several addresses \(192.0.2.1, 198.51.100.1\)/],
    ["203.0.113.9", two, /not an address of this host/],
    ["eth9", two, /neither an address nor an interface/],
    ["192.0.2.1:0", two, /0 is not a port/],
    ["192.0.2.1:65536", two, /65536 is not a port/],
    ["not:a:thing", two, /neither an address nor an interface/],
  ] as const)
    it(`refuses "${given}": ${reason.source}`, () => {
      let thrown: unknown;
      try {
        advertiseAddress(given, own);
      } catch (error) {
        thrown = error;
      }
      expect(thrown).to.have.property("code", "invalid");
      const [issue] = (thrown as TswarmError).issues;
      expect(issue!.field).to.equal("advertise-addr");
      expect(issue!.reason).to.match(reason);
    });

  for (const [given, advertised, listen] of [
    ["", "192.0.2.1", "0.0.0.0:3000"],
    ["", "2001:db8::1", "[::]:3000"],
    ["192.0.2.9", "192.0.2.1", "192.0.2.9:3000"],
    ["192.0.2.9:4000", "192.0.2.1", "192.0.2.9:4000"],
    ["2001:db8::9", "2001:db8::1", "[2001:db8::9]:3000"],
    ["[2001:db8::9]:4000", "2001:db8::1", "[2001:db8::9]:4000"],
  ] as const)
    it(`a manager that is to listen at "${given}" and that others reach at ${advertised}`, () =>
      expect(listenAddress(given, { host: advertised, port: 3000 })).to.equal(listen));

  it("writes IPv6 addresses in brackets", () => {
    expect(hostPort("2001:db8::1", 80)).to.equal("[2001:db8::1]:80");
    expect(hostPort("192.0.2.1", 80)).to.equal("192.0.2.1:80");
  });
});
