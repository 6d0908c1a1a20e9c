// More endpoints of one overlay on a host than a Linux bridge has ports: several bridges, joined, are one segment.

import { expect } from "chai";
import { type ApplyReport, Reconciler } from "#net/exec/reconciler.ts";
import { type ScratchHost, scratchHost } from "#net/exec/testing/scratch-host.ts";
import { type ScratchNetns, scratchNetns } from "#net/kernel/scratch-netns.ts";
import type { Attachment, HostNetworks } from "#net/model/host-networks.ts";
import { attach, container, host as hostNetworks, overlayNetwork, remote } from "#net/plan/testdata.ts";

const VTEPS = ["192.0.2.1", "192.0.2.2"] as const;
const done = (report: ApplyReport): ApplyReport => {
  expect(report.errors).to.deep.equal([]);
  return report;
};
const received = (host: ScratchHost, from: number, address: string, count = 1): number =>
  Number(
    / (\d+) received/.exec(
      host.inside(`c-t${from}`, "sh", "-c", `ping -c${count} -i0.01 -W1 -n ${address} || true`),
    )![1],
  );
/** Number of ports by bridge. Links without one are about to go with their containers. */
const ports = (host: ScratchHost, ns: string): Record<string, number> => {
  const links = JSON.parse(host.inside(ns, "ip", "-j", "link")) as { ifname: string; master?: string }[];
  const of = Map.groupBy(
    links.filter(({ ifname, master }) => ifname.startsWith("tsv") && master !== undefined),
    ({ master }) => master ?? "",
  );
  return Object.fromEntries([...of].map(([bridge, on]) => [bridge, on.length]));
};

describe("an overlay with more endpoints than a bridge has ports", function () {
  this.timeout(60_000);

  describe("on two hosts, with two ports per bridge", () => {
    const network = overlayNetwork(1);
    const hosts: (ScratchHost & { readonly reconciler: Reconciler })[] = [];
    let segment: ScratchNetns;

    const desired = (side: 0 | 1, ...numbers: readonly number[]): HostNetworks => ({
      node: { vtep: VTEPS[side], dataPathPort: 4789 },
      networks: [network],
      containers: numbers.map((n) => container(`t${n}`, attach(network, n))),
      remotes: (side === 0 ? [20] : [2, 3, 4, 5, 6]).map((n) => remote(network, n, VTEPS[side === 0 ? 1 : 0])),
      published: [],
    });

    before(() => {
      segment = scratchNetns();
      segment.exec("ip", "link", "add", "segment", "type", "bridge");
      segment.exec("ip", "link", "set", "segment", "up");
      for (const side of [0, 1] as const) {
        const host = scratchHost();
        hosts.push({ ...host, reconciler: new Reconciler(host.place, { limits: { portsPerBridge: 2 } }) });
        const ip = (command: string) => void segment.exec("ip", ...command.split(" "));
        ip(`link add p${side} master segment type veth peer name uplink netns ${host.netns.name}`);
        ip(`link set p${side} up`);
        host.netns.exec("ip", "addr", "add", `${VTEPS[side]}/24`, "dev", "uplink");
        host.netns.exec("ip", "link", "set", "uplink", "up");
      }
      done(hosts[0]!.reconciler.apply(desired(0, 2, 3, 4, 5, 6)));
      done(hosts[1]!.reconciler.apply(desired(1, 20)));
    });
    after(() => {
      for (const host of hosts) {
        host.reconciler.teardown();
        host.remove();
      }
      segment?.remove();
    });

    it("joins everyone with everyone, with the gateway and with the other host, and needs nothing more", () => {
      expect(ports(hosts[0]!, "o-4097")).to.deep.equal({ br0: 2, br1: 2, br2: 1 });
      for (const from of [2, 4, 6])
        for (const to of [1, 2, 3, 4, 5, 6, 20])
          for (const address of [`10.1.0.${to}`, `fd00:1::${to.toString(16)}`])
            expect(received(hosts[0]!, from, address), `${from} to ${address}`).to.equal(1);
      for (const to of [2, 4, 6]) expect(received(hosts[1]!, 20, `10.1.0.${to}`)).to.equal(1);
      expect(done(hosts[0]!.reconciler.repair(desired(0, 2, 3, 4, 5, 6))).drift).to.deep.equal([]);
    });

    it("has one gateway: the further bridges answer for nobody", () => {
      const gateway = JSON.parse(hosts[0]!.inside("o-4097", "ip", "-j", "link", "show", "br0"))[0];
      for (const from of [2, 4, 6]) {
        hosts[0]!.inside(`c-t${from}`, "ip", "neigh", "flush", "all");
        expect(received(hosts[0]!, from, "10.1.0.1")).to.equal(1);
        const [entry] = JSON.parse(hosts[0]!.inside(`c-t${from}`, "ip", "-j", "neigh", "show", "10.1.0.1"));
        expect(entry.lladdr).to.equal(gateway.address);
      }
    });

    it("gives no packet twice, and none of a conversation to others", () => {
      const twice = hosts[0]!.inside("c-t6", "ping", "-c5", "-i0.01", "-n", "10.1.0.20");
      expect(twice).not.to.match(/DUP/);
      const seen = (): number => {
        const [link] = JSON.parse(hosts[0]!.inside("c-t3", "ip", "-j", "-s", "link", "show", "eth0"));
        return link.stats64.rx.packets;
      };
      const before = seen();
      expect(received(hosts[0]!, 6, "10.1.0.4", 20)).to.equal(20);
      // Of 40 frames: some neighbour questions and router solicitations are for all.
      expect(seen() - before).to.be.below(15);
    });

    it("leaves who stays where it is, and takes away bridges that nobody needs", () => {
      done(hosts[0]!.reconciler.apply(desired(0, 2, 3, 6)));
      expect(Object.keys(ports(hosts[0]!, "o-4097")).toSorted()).to.deep.equal(["br0", "br2"]);
      expect(received(hosts[0]!, 6, "10.1.0.2")).to.equal(1);
      done(hosts[0]!.reconciler.apply(desired(0, 2, 6)));
      done(hosts[0]!.reconciler.apply(desired(0, 2)));
      expect(Object.keys(ports(hosts[0]!, "o-4097"))).to.deep.equal(["br0"]);
    });

    it("puts back a join that others cut", () => {
      done(hosts[0]!.reconciler.apply(desired(0, 2, 3, 4, 5, 6)));
      hosts[0]!.inside("o-4097", "ip", "link", "del", "join1");
      expect(received(hosts[0]!, 4, "10.1.0.2")).to.equal(0);
      done(hosts[0]!.reconciler.repair(desired(0, 2, 3, 4, 5, 6)));
      hosts[0]!.inside("c-t4", "ip", "neigh", "flush", "all", "nud", "all");
      expect(received(hosts[0]!, 4, "10.1.0.2")).to.equal(1);
    });
  });

  it("works with 1,100 endpoints", () => {
    const host = scratchHost();
    const reconciler = new Reconciler(host.place);
    try {
      host.netns.exec("ip", "link", "add", "uplink", "type", "bridge");
      host.netns.exec("ip", "addr", "add", `${VTEPS[0]}/24`, "dev", "uplink");
      const network = { ...overlayNetwork(1), subnets: [{ subnet: "10.1.0.0/16", gateway: "10.1.255.254" }] };
      const address = (n: number): string => `10.1.${n >> 8}.${n & 255}`;
      const macs = (n: number): string => `02:42:00:00:${hex(n >> 8)}:${hex(n & 255)}`;
      const hex = (byte: number): string => Buffer.of(byte).toString("hex");
      const attachment = (n: number): Attachment => ({
        ...attach(network, 2),
        ipv4: `${address(n)}/16`,
        ipv6: "",
        mac: macs(n),
      });
      const numbers = Array.from({ length: 1_100 }, (_, i) => i + 2);
      const desired = hostNetworks({
        networks: [network],
        containers: numbers.map((n) => container(`t${n}`, attachment(n))),
      });
      done(reconciler.apply(desired));
      expect(ports(host, "o-4097")).to.deep.equal({ br0: 1_000, br1: 100 });
      for (const to of [3, 1_000, 1_101]) expect(received(host, 2, address(to)), address(to)).to.equal(1);
      expect(received(host, 1_101, "10.1.255.254")).to.equal(1);
      expect(done(reconciler.repair(desired)).drift).to.deep.equal([]);
    } finally {
      reconciler.teardown();
      host.remove();
    }
  });
});
