// The MTU of an overlay is that of the narrowest way to a peer, whatever link has the VTEP address.

import { expect } from "chai";
import { Reconciler } from "#net/exec/reconciler.ts";
import { type ScratchHost, scratchHost } from "#net/exec/testing/scratch-host.ts";
import type { HostNetwork, HostNetworks } from "#net/model/host-networks.ts";
import { overlayNs } from "#net/model/ifname.ts";
import { attach, container, host as hostNetworks, NODE, overlayNetwork, remote } from "#net/plan/testdata.ts";

const [near, far, gone] = ["192.0.2.2", "198.51.100.2", "203.0.113.2"];
const one = overlayNetwork(1);
const two = overlayNetwork(2, { subnets: overlayNetwork(2).subnets.slice(0, 1) });

describe("MTU of the ways to the peers", () => {
  let host: ScratchHost;
  let reconciler: Reconciler;
  const ip = (command: string) => void host.netns.exec("ip", ...command.split(" "));

  beforeEach(() => {
    host = scratchHost();
    reconciler = new Reconciler(host.place);
    for (const [name, address] of [
      ["uplink", `${NODE.vtep}/24`],
      ["second", "198.51.100.1/24"],
    ]) {
      ip(`link add ${name} type veth peer name ${name}peer`);
      ip(`link set ${name} up`);
      ip(`link set ${name}peer up`);
      ip(`addr add ${address} dev ${name}`);
    }
  });
  afterEach(() => {
    reconciler.teardown();
    host.remove();
  });

  const on = (...peers: readonly [HostNetwork, string][]): HostNetworks =>
    hostNetworks({
      networks: [one, two],
      containers: [container("t1", attach(one, 2), attach(two, 2, "eth1"))],
      remotes: peers.map(([network, vtep], i) => remote(network, 10 + i, vtep)),
    });
  const mtus = (desired: HostNetworks, how: "apply" | "repair" = "apply"): number[] => {
    expect(reconciler[how](desired).errors).to.deep.equal([]);
    return [one, two].map(({ vni }) => {
      const links = JSON.parse(host.inside(overlayNs(vni), "ip", "-j", "link", "show"));
      const own = links.filter((l: { ifname: string }) => l.ifname !== "lo");
      const inner = JSON.parse(host.inside("c-t1", "ip", "-j", "link", "show", vni === one.vni ? "eth0" : "eth1"));
      const found = new Set<number>([...own, ...inner].map((l: { mtu: number }) => l.mtu));
      expect([...found], "all links of an overlay have one MTU").to.have.length(1);
      return [...found][0]!;
    });
  };

  it("is that of the link with the VTEP address while there is no peer", () => {
    ip("link set uplink mtu 1480");
    expect(mtus(on())).to.deep.equal([1430, 1430]);
  });

  it("is the route's own, where it has one, for the networks with that peer", () => {
    ip(`route add ${near}/32 dev uplink mtu 1400`);
    expect(mtus(on([one, near], [two, "192.0.2.3"]))).to.deep.equal([1350, 1450]);
  });

  it("is the outgoing link's: a second uplink's for the peers behind it", () => {
    ip("link set second mtu 1380");
    expect(mtus(on([one, near]))).to.deep.equal([1450, 1450]);
    expect(mtus(on([one, near], [one, far]))).to.deep.equal([1330, 1450]);
  });

  it("is never less than IPv6 needs, in networks that have it", () => {
    ip(`route add ${near}/32 dev uplink mtu 1300`);
    expect(mtus(on([one, near], [two, near]))).to.deep.equal([1280, 1250]);
  });

  it("does not care for a peer that there is no way to", () => {
    expect(mtus(on([one, near], [two, gone]))).to.deep.equal([1450, 1450]);
  });

  it("follows the routes with the next full pass", () => {
    const desired = on([one, near], [two, near]);
    expect(mtus(desired)).to.deep.equal([1450, 1450]);
    ip(`route add ${near}/32 dev uplink mtu 1400`);
    expect(mtus(desired, "repair")).to.deep.equal([1350, 1350]);
    ip(`route del ${near}/32`);
    expect(mtus(desired, "repair")).to.deep.equal([1450, 1450]);
  });

  it("takes 70 bytes between IPv6 addresses", () => {
    host.netns.exec("sysctl", "-qw", "net.ipv6.conf.uplink.accept_dad=0");
    ip("addr add 2001:db8::1/64 dev uplink nodad");
    ip("route add 2001:db8::2/128 dev uplink mtu 1400");
    const desired = { ...on([one, "2001:db8::2"]), node: { ...NODE, vtep: "2001:db8::1" } };
    expect(mtus(desired)).to.deep.equal([1330, 1430]);
  });
});
