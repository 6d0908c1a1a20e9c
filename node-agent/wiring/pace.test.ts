import { expect } from "chai";
import { pauseMs, withoutNewBackends } from "#node-agent/wiring/pace.ts";
import { ServiceEndpoint } from "#proto/gen/dispatcher.ts";

const service = (vip4: string, ...backends: readonly string[]) =>
  ServiceEndpoint.fromPartial({ vip4, backends: backends.map((ipv4) => ({ taskId: `t${ipv4}`, ipv4 })) });
const of = (...services: readonly ServiceEndpoint[]) => new Map(services.map((s, i) => [`s${i}`, s]));
const addresses = (services: ReadonlyMap<string, ServiceEndpoint>) =>
  [...services].map(([key, s]) => `${key}:${s.backends.map((b) => b.ipv4)}`);

describe("new backends wait", () => {
  it("leaves a service that only gained backends as it is", () => {
    const wired = of(service("v", "a"));
    expect(addresses(withoutNewBackends(of(service("v", "a", "b")), wired))).to.deep.equal(["s0:a"]);
  });

  it("takes a service without wired backends, a new service, and a new virtual address at once", () => {
    const wired = of(service("v"), service("w", "a"));
    const wanted = of(service("v", "a"), service("x", "a", "b"), service("y", "c"));
    expect(addresses(withoutNewBackends(wanted, wired))).to.deep.equal(["s0:a", "s1:a,b", "s2:c"]);
  });

  it("takes a service that lost a backend, also when it gained another, and one whose backend moved", () => {
    expect(addresses(withoutNewBackends(of(service("v", "b")), of(service("v", "a", "b"))))).to.deep.equal(["s0:b"]);
    expect(addresses(withoutNewBackends(of(service("v", "b", "c")), of(service("v", "a", "b"))))).to.deep.equal([
      "s0:b,c",
    ]);
    const moved = ServiceEndpoint.fromPartial({ vip4: "v", backends: [{ taskId: "ta", ipv4: "z" }] });
    expect(addresses(withoutNewBackends(of(moved), of(service("v", "a"))))).to.deep.equal(["s0:z"]);
  });

  it("drops services that are gone", () => {
    expect(addresses(withoutNewBackends(of(), of(service("v", "a"))))).to.deep.equal([]);
  });

  it("waits longer after slower applies, but never long", () => {
    expect(pauseMs(1_000)).to.equal(9);
    expect(pauseMs(5_000_000)).to.equal(1_000);
  });
});
