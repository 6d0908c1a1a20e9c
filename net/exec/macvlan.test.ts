// Containers on the segment of two hosts: neighbours of each other and of the router there, by macvlan.

import { expect } from "chai";
import { type ApplyReport, Reconciler } from "#net/exec/reconciler.ts";
import { type ScratchHost, scratchHost } from "#net/exec/testing/scratch-host.ts";
import { type ScratchNetns, scratchNetns } from "#net/kernel/scratch-netns.ts";
import type { HostNetwork, HostNetworks } from "#net/model/host-networks.ts";
import { attach, bridgeNetwork, container, host as hostNetworks } from "#net/plan/testdata.ts";

const ROUTER = "172.20.7.1";
const ROUTER6 = "fd00:7::1";
const FAR = "203.0.113.9";

const lan = (options: Readonly<Record<string, string>> = {}): HostNetwork => ({
  ...bridgeNetwork(7),
  driver: "macvlan",
  parent: "uplink",
  subnets: [
    { subnet: "172.20.7.0/24", gateway: ROUTER },
    { subnet: "fd00:7::/64", gateway: ROUTER6 },
  ],
  options,
});

describe("macvlan on two hosts", function () {
  this.timeout(30_000);
  const hosts: (ScratchHost & { readonly reconciler: Reconciler })[] = [];
  let segment: ScratchNetns;

  before(() => {
    segment = scratchNetns();
    const ip = (netns: ScratchNetns, command: string) => void netns.exec("ip", ...command.split(" "));
    ip(segment, "link add segment type bridge");
    segment.exec("sysctl", "-qw", "net.ipv6.conf.segment.accept_dad=0");
    ip(segment, "link set segment up");
    ip(segment, `addr add ${ROUTER}/24 dev segment`);
    ip(segment, `addr add ${ROUTER6}/64 dev segment nodad`);
    ip(segment, `addr add ${FAR}/32 dev lo`);
    ip(segment, "link set lo up");
    for (const i of [0, 1]) {
      const host = scratchHost();
      hosts.push({ ...host, reconciler: new Reconciler(host.place) });
      ip(segment, `link add p${i} master segment type veth peer name uplink netns ${host.netns.name}`);
      ip(segment, `link set p${i} up`);
      ip(host.netns, "link set uplink up");
      ip(host.netns, `addr add 172.20.7.10${i}/24 dev uplink`);
    }
  });

  after(() => {
    for (const host of hosts) {
      host.reconciler.teardown();
      host.remove();
    }
    segment?.remove();
  });

  const done = (report: ApplyReport): ApplyReport => {
    expect(report.errors).to.deep.equal([]);
    return report;
  };
  const on = (network: HostNetwork, ...numbers: readonly number[]): HostNetworks =>
    hostNetworks({ networks: [network], containers: numbers.map((n) => container(`t${n}`, attach(network, n))) });
  /** "1" or "0" answers. */
  const ping = (from: (...command: string[]) => string, address: string): string =>
    / (\d) received/.exec(from("sh", "-c", `ping -c1 -W1 -n ${address} || true`))![1]!;
  const inside =
    (side: 0 | 1, n: number) =>
    (...command: string[]): string =>
      hosts[side]!.inside(`c-t${n}`, ...command);
  const onHost =
    (side: 0 | 1) =>
    (...command: string[]): string =>
      hosts[side]!.netns.exec(command[0]!, ...command.slice(1));

  it("makes containers neighbours of each other, on this host and the other, and of the router", () => {
    done(hosts[0]!.reconciler.apply(on(lan(), 2, 3)));
    done(hosts[1]!.reconciler.apply(on(lan(), 4)));
    for (const address of ["172.20.7.3", "172.20.7.4", "fd00:7::3", "fd00:7::4", ROUTER, FAR])
      expect(ping(inside(0, 2), address), address).to.equal("1");
    expect(done(hosts[0]!.reconciler.repair(on(lan(), 2, 3))).drift).to.deep.equal([]);
    expect(JSON.parse(inside(0, 2)("ip", "-j", "-d", "link", "show", "eth0"))[0].linkinfo.info_data.mode).to.equal(
      "bridge",
    );
  });

  it("keeps the host out, unless it is asked to let it in", () => {
    expect(ping(onHost(0), "172.20.7.2")).to.equal("0");
    expect(ping(onHost(1), "172.20.7.2")).to.equal("1");
    const open = on(lan({ "host-access": "true" }), 2, 3);
    done(hosts[0]!.reconciler.apply(open));
    expect(ping(onHost(0), "172.20.7.2")).to.equal("1");
    expect(ping(inside(0, 2), "172.20.7.100")).to.equal("1");
    expect(done(hosts[0]!.reconciler.repair(open)).drift).to.deep.equal([]);
    done(hosts[0]!.reconciler.apply(on(lan(), 2, 3)));
    expect(ping(onHost(0), "172.20.7.2")).to.equal("0");
  });

  it("keeps containers of one host apart in mode private", () => {
    done(hosts[0]!.reconciler.apply(on(lan({ macvlan_mode: "private" }), 2, 3)));
    expect(ping(inside(0, 2), "172.20.7.3")).to.equal("0");
    expect(ping(inside(0, 2), "172.20.7.4")).to.equal("1");
  });

  it("says which interface is missing", () => {
    const { errors } = hosts[0]!.reconciler.apply(on({ ...lan(), parent: "eth9" }, 2));
    expect(errors.map(({ namespace, reason }) => `${namespace}: ${reason}`)).to.include("c-t2: there is no link eth9");
    done(hosts[0]!.reconciler.apply(on(lan(), 2)));
    expect(ping(inside(0, 2), ROUTER)).to.equal("1");
  });

  it("leaves nothing behind", () => {
    for (const { reconciler, netns } of hosts) {
      done(reconciler.teardown());
      expect(netns.ip("link").map((l) => l.ifname)).to.have.members(["lo", "uplink"]);
    }
  });
});
