import { expect } from "chai";
import type { HostNetworks, PublishedPort } from "#net/model/host-networks.ts";
import { attach, container, host, overlayNetwork, remote, virtualService } from "#net/plan/testdata.ts";
import { flowWays, staleFlows } from "./stale-flows.ts";

const TCP = 6;
const UDP = 17;
const ICMP = 1;
const app = overlayNetwork(1);
const VIP = "10.1.0.100";
const VIP6 = "fd00:1::64";

const desired = (backends: readonly number[], change: Partial<HostNetworks> = {}): HostNetworks =>
  host({
    networks: [{ ...app, services: [virtualService(app, "web", 100, backends)] }],
    containers: [container("a", attach(app, 2)), container("b", attach(app, 3))],
    remotes: [remote(app, 7), remote(app, 8)],
    ...change,
  });

const flow = (protocol: number, target: string, destination = VIP, destinationPort = 80) => ({
  protocol,
  destination,
  destinationPort,
  target,
});

const staleSince = (before: HostNetworks | undefined, now: HostNetworks) =>
  staleFlows(now, flowWays(now), before && flowWays(before));

describe("stale flows", () => {
  it("none are looked for while backends and containers only come", () => {
    const more = desired([3, 7, 8], { remotes: [remote(app, 7), remote(app, 8), remote(app, 9)] });
    expect([...staleSince(desired([3, 7]), more).keys()]).to.deep.equal([]);
    expect([...staleSince(desired([3, 7]), desired([3, 7])).keys()]).to.deep.equal([]);
  });

  it("are looked for in all containers of a network when nothing is known of before", () => {
    expect([...staleSince(undefined, desired([3])).keys()]).to.have.members(["c-a", "c-b"]);
  });

  it("without a connection leave with the backend, connections with the container", () => {
    const left = staleSince(desired([3, 7]), desired([3]));
    expect([...left.keys()]).to.have.members(["c-a", "c-b"]);
    const isStale = left.get("c-a")!;
    expect(isStale(flow(UDP, "10.1.0.7"))).to.equal(true);
    expect(isStale(flow(UDP, "fd00:1::7", VIP6))).to.equal(true);
    expect(isStale(flow(ICMP, "10.1.0.7"))).to.equal(true);
    expect(isStale(flow(UDP, "10.1.0.3"))).to.equal(false);
    expect(isStale(flow(TCP, "10.1.0.7"))).to.equal(false);
    const gone = staleSince(desired([3]), desired([3], { remotes: [remote(app, 8)] })).get("c-b")!;
    expect(gone(flow(TCP, "10.1.0.7"))).to.equal(true);
    expect(gone(flow(TCP, "fd00:1::7", VIP6))).to.equal(true);
    expect(gone(flow(TCP, "10.1.0.8"))).to.equal(false);
    expect(gone(flow(TCP, "10.1.0.2")), "its own").to.equal(false);
  });

  it("of a service that was removed are stale, those of others' translations are not ours", () => {
    const without = desired([], { networks: [app] });
    const isStale = staleSince(desired([3, 7]), without).get("c-a")!;
    expect(isStale(flow(UDP, "10.1.0.3"))).to.equal(true);
    expect(isStale(flow(UDP, "172.17.0.2", "10.1.0.2"))).to.equal(false);
    expect(isStale(flow(UDP, "10.1.0.3", "203.0.113.7"))).to.equal(false);
  });

  it("of a published port are looked for on the host", () => {
    const port = (backends: readonly string[], hostIp = ""): PublishedPort => ({
      protocol: "udp",
      port: 5353,
      hostIp,
      target: 53,
      backends: backends.map((ipv4) => ({ ipv4, ipv6: "" })),
    });
    const now = host({ published: [port(["10.0.0.3"])] });
    const found = staleSince(host({ published: [port(["10.0.0.3", "10.0.0.4"])] }), now);
    expect([...found.keys()]).to.deep.equal([""]);
    const isStale = found.get("")!;
    expect(isStale(flow(UDP, "10.0.0.4", "192.0.2.1", 5353))).to.equal(true);
    expect(isStale(flow(UDP, "10.0.0.3", "192.0.2.1", 5353))).to.equal(false);
    expect(isStale(flow(UDP, "10.0.0.4", "192.0.2.1", 53))).to.equal(false);
    expect(isStale(flow(TCP, "10.0.0.4", "192.0.2.1", 5353))).to.equal(false);
    const bound = host({ published: [port(["10.0.0.3"], "192.0.2.9")] });
    expect(staleSince(undefined, bound).get("")!(flow(UDP, "10.0.0.4", "192.0.2.1", 5353))).to.equal(false);
  });
});
