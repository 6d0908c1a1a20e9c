// A random walk of desired states, random damage in between by the tools that people use, and agents that end in the middle of
// a plan: the host arrives at exactly what is planned, what is not ours stays as it was, and who lost nothing loses no packet.

import { once } from "node:events";
import { expect } from "chai";
import { type Random, seededRandom } from "#base/random.ts";
import { execute } from "#net/exec/executor.ts";
import { Kernel } from "#net/exec/kernel.ts";
import { learnSysctls, observe } from "#net/exec/observe.ts";
import { type ApplyReport, Reconciler } from "#net/exec/reconciler.ts";
import { type ScratchHost, scratchHost } from "#net/exec/testing/scratch-host.ts";
import type { HostNetwork, HostNetworks, LocalContainer } from "#net/model/host-networks.ts";
import { deriveMac } from "#net/model/mac.ts";
import { renderDifference } from "#net/plan/differences.ts";
import { planTarget, targetOf } from "#net/plan/plan-host.ts";
import {
  attach,
  bridgeNetwork,
  container,
  host,
  macOf,
  overlayNetwork,
  remote,
  virtualService,
} from "#net/plan/testdata.ts";

const SEED = Number(process.env.SEED ?? Math.trunc(Date.now() / 1000) % 1_000_000);
/** Each run takes some of a plan's ops, all runs together all of them; 1: all at once, a minute. */
const STRIDE = Number(process.env.STRIDE ?? 6);
const ROUNDS = Number(process.env.ROUNDS ?? 25);

const mesh = overlayNetwork(3);
const member = (n: number, vtep: string) => ({
  ...{ ipv4: `10.3.0.${n}`, ipv6: `fd00:3::${n}`, mac: deriveMac(`mesh ${n}`), vtep },
});
const meshed: HostNetwork = {
  ...mesh,
  mesh: { self: member(200, "192.0.2.1"), others: [member(201, "192.0.2.2"), member(202, "192.0.2.3")] },
};
const lan: HostNetwork = {
  ...bridgeNetwork(7),
  driver: "macvlan",
  parent: "uplink",
  options: { "host-access": "true" },
};
const app = overlayNetwork(1);
const quiet = overlayNetwork(2, { internal: true });
const own = bridgeNetwork(1);
const shy = bridgeNetwork(2, { options: { "com.docker.network.bridge.enable_icc": "false" } });
const NETWORKS = [app, quiet, meshed, own, shy, lan];
/** Two containers that nobody damages. */
const steady = overlayNetwork(9);
const CALM = [container("calm2", attach(steady, 2)), container("calm3", attach(steady, 3))];

/**
 * Everything at once: the plan whose every op is an agent's last. `k` keeps the rounds from waiting for each other: the kernel
 * removes what was in a namespace some time after it.
 */
const representative = (k: number): HostNetworks =>
  host({
    networks: [{ ...app, services: [virtualService(app, "web", 100, [2, 20])] }, meshed, own, lan],
    containers: [
      container(`t2-${k}`, attach(app, 2), attach(own, 2, "eth1")),
      container(`t3-${k}`, attach(meshed, 3), { ...attach(lan, 3, "eth1"), mac: deriveMac(`lan ${k}`) }),
    ],
    remotes: [remote(app, 20), remote(meshed, 20)],
    published: [
      { protocol: "tcp", port: 8080, hostIp: "", target: 80, backends: [{ ipv4: "10.3.0.3", ipv6: "fd00:3::3" }] },
    ],
  });
const REPRESENTATIVE = representative(0);

const wanted = (random: Random): HostNetworks => {
  const flip = (): boolean => random.int(2) === 0;
  const containers: LocalContainer[] = [2, 3, 4, 5]
    .filter(flip)
    .map((n) => container(`t${n}`, ...NETWORKS.filter(flip).map((network, i) => attach(network, n, `eth${i}`))));
  const used = NETWORKS.filter((n) => containers.some((c) => c.attachments.some((a) => a.networkId === n.id)));
  const networks = used.map((network) =>
    network.id === app.id
      ? { ...network, services: [virtualService(app, "web", 100, [2, 3, 20].filter(flip))] }
      : network,
  );
  const published = used.includes(meshed) && flip() ? REPRESENTATIVE.published : [];
  return host({
    networks: [...networks, steady],
    containers: [...containers, ...CALM],
    remotes: used.filter((n) => n.driver === "overlay").flatMap((n) => [20, 21].filter(flip).map((m) => remote(n, m))),
    published,
  });
};

/** As nft shows a map of backends: its values, once they have the numbers from 0. */
const backendsIn = (json: string): readonly string[] => {
  const { nftables } = JSON.parse(json) as { nftables: readonly { map?: { elem?: readonly [number, string][] } }[] };
  const elements = nftables.flatMap(({ map }) => map?.elem ?? []).toSorted(([a], [b]) => a - b);
  expect(elements.map(([slot]) => slot)).to.deep.equal([...elements.keys()]);
  return elements.map(([, backend]) => backend).toSorted();
};

describe("random damage", function () {
  this.timeout(180_000);
  let scratch: ScratchHost;

  beforeEach(() => {
    scratch = scratchHost();
    const { exec } = scratch.netns;
    exec("ip", "link", "add", "dev", "uplink", "type", "veth", "peer", "name", "far");
    for (const link of ["uplink", "far", "lo"]) exec("ip", "link", "set", "dev", link, "up");
    exec("ip", "addr", "add", "192.0.2.1/24", "dev", "uplink");
  });
  afterEach(() => {
    new Reconciler(scratch.place).teardown();
    scratch.remove();
  });

  const done = (report: ApplyReport): ApplyReport => {
    expect(report.errors).to.deep.equal([]);
    return report;
  };
  const expectExactly = (desired: HostNetworks, after: string): void => {
    const { differences } = new Reconciler(scratch.place).inspect(desired);
    expect(differences.map(renderDifference), after).to.deep.equal([]);
    for (const { netns, attachments } of desired.containers)
      for (const { id, services } of desired.networks)
        if (attachments.some(({ networkId }) => networkId === id))
          for (const { ipv4, backends } of services) {
            const map = `vip_${ipv4.replaceAll(".", "_")}`;
            const shown = scratch.inside(netns, "nft", "-j", "list", "map", "inet", "tswarm", map);
            expect(backendsIn(shown), after).to.deep.equal(backends.map((backend) => backend.ipv4).toSorted());
          }
  };
  const sh = (ns: string, command: string): void => {
    try {
      const quiet = `{ ${command}; } 2>/dev/null`;
      if (ns === "") scratch.netns.exec("sh", "-c", quiet);
      else scratch.inside(ns, "sh", "-c", quiet);
    } catch {
      // What is to be damaged is damaged already.
    }
  };

  /** A firewall, a bridge, routes and rules of somebody else. */
  const makeForeign = (): void => {
    const { exec } = scratch.netns;
    exec(
      "nft",
      "add table inet mine; add chain inet mine c { type filter hook input priority 5; }; add rule inet mine c tcp dport 22 accept; add table ip other",
    );
    exec("ip", "link", "add", "dev", "docker0", "type", "bridge");
    exec("ip", "link", "set", "dev", "docker0", "up");
    exec("ip", "addr", "add", "172.31.0.1/16", "dev", "docker0");
    exec("ip", "route", "add", "198.51.100.0/24", "via", "192.0.2.77");
    exec("ip", "route", "add", "203.0.113.0/24", "dev", "uplink", "table", "77", "proto", "static");
    exec("ip", "rule", "add", "pref", "77", "from", "192.0.2.9", "table", "77");
  };
  const foreign = (rules: boolean): string => {
    const { exec } = scratch.netns;
    return [
      ...(rules ? [exec("nft", "list", "table", "inet", "mine"), exec("nft", "list", "table", "ip", "other")] : []),
      exec("ip", "-o", "link", "show", "dev", "docker0").replace(/<.*?>|state \S+/g, ""),
      exec("ip", "-o", "addr", "show", "dev", "docker0", "scope", "global"),
      exec("ip", "-o", "addr", "show", "dev", "uplink", "scope", "global"),
      exec("ip", "route", "show", "198.51.100.0/24"),
      exec("ip", "route", "show", "table", "77"),
      exec("ip", "rule", "show", "pref", "77"),
    ].join("\n");
  };

  /** One command in one of the namespaces that are not calm; what it was. */
  const damage = (random: Random): string => {
    const pick = <T>(from: readonly T[]): T => from[random.int(from.length)]!;
    const kernel = new Kernel(scratch.place);
    const calm = ["o-4105", "c-calm2", "c-calm3"];
    const ns = pick(["", ...kernel.namespaces().filter((name) => !calm.includes(name))]);
    const shown = (command: string): { ifname: string; linkinfo?: { info_kind?: string } }[] =>
      JSON.parse(ns === "" ? scratch.netns.exec("sh", "-c", command) : scratch.inside(ns, "sh", "-c", command));
    const links = shown("ip -j -d link")
      .map(({ ifname }) => ifname)
      .filter((name) => (ns === "" ? /^ts/.test(name) && name !== "tse4105" : name !== "lo"));
    const link = links.length === 0 ? "none" : pick(links);
    const command = pick([
      `ip link del dev ${link}`,
      `ip link set dev ${link} down`,
      `ip link set dev ${link} down; ip link set dev ${link} up`,
      `ip link set dev ${link} nomaster`,
      `ip link set dev ${link} mtu 1280`,
      `ip link set dev ${link} address 02:00:00:00:77:77`,
      `ip link set dev ${link} alias stranger`,
      `ip link set dev ${link} down; ip link set dev ${link} name renamed`,
      `ip addr flush dev ${link}`,
      `ip addr add 10.200.0.1/24 dev ${link}`,
      `bridge link set dev ${link} isolated on hairpin on`,
      `bridge fdb replace ${macOf(20)} dev vxlan0 dst 192.0.2.99`,
      `bridge fdb add ${macOf(66)} dev vxlan0 dst 192.0.2.66`,
      `bridge fdb flush dev vxlan0`,
      `ip neigh flush dev vxlan0 nud permanent`,
      `ip neigh replace 10.1.0.20 lladdr ${macOf(55)} dev vxlan0 nud permanent`,
      `ip route del default`,
      "ip route add 10.99.0.0/16 dev lo proto 144 metric 50",
      "ip route add blackhole 10.98.0.0/16 proto 144",
      "ip -6 route add fd99::/64 dev lo proto 144 metric 7",
      "ip rule add pref 60 from 10.1.0.9 table 9 protocol 144",
      "ip rule add pref 61 to 10.1.0.9 iif lo table 9 protocol 144",
      "ip rule flush table 1001; ip rule del pref 20000",
      "ip route flush table main proto 144",
      ns === "" ? "nft delete table inet tswarm" : "nft flush ruleset",
      "nft flush table inet tswarm",
      "nft add rule inet tswarm postrouting accept",
      "nft insert rule inet tswarm output drop",
      "nft add chain inet tswarm stranger",
      ...[
        "delete element inet tswarm MAP { 0 }",
        "delete element inet tswarm MAP { 1 }",
        "add element inet tswarm MAP { 7 : 10.1.0.77 }",
        "delete element inet tswarm MAP { 0 }; add element inet tswarm MAP { 0 : 10.1.0.77 }",
        "flush map inet tswarm MAP",
        "flush chain inet tswarm MAP",
        "add rule inet tswarm MAP accept",
        "flush chain inet tswarm MAP; add rule inet tswarm MAP dnat ip to numgen random mod 5 map @MAP",
        "flush chain inet tswarm MAP; add rule inet tswarm MAP dnat ip to numgen inc mod 2 map @MAP",
      ].map((change) => `nft '${change.replaceAll("MAP", ns === "" ? "tcp_8080_ip" : "vip_10_1_0_100")}'`),
      "nft add set inet tswarm s '{ type ipv4_addr; }'; nft add element inet tswarm s '{ 10.0.0.1 }'",
      "sysctl -qw net.ipv4.ip_forward=0",
      "sysctl -qw net.ipv6.conf.all.disable_ipv6=1; sysctl -qw net.ipv6.conf.all.disable_ipv6=0",
    ]);
    sh(ns, command);
    return `${ns || "host"}: ${command}`;
  };

  it(`converges, touches nothing foreign and disturbs nobody else (SEED=${SEED})`, async () => {
    const random = seededRandom(SEED);
    makeForeign();
    const before = foreign(true);
    const reconciler = new Reconciler(scratch.place);
    done(reconciler.apply(wanted(random)));
    const ping = scratch.spawn("c-calm2", "ping", "-n", "-i0.02", "10.9.0.3");
    let said = "";
    ping.stdout.on("data", (data) => void (said += data));
    await once(ping.stdout, "data");
    for (let round = 0; round < ROUNDS; round++) {
      const next = wanted(random);
      done(reconciler.apply(next));
      const damages = Array.from({ length: 1 + random.int(6) }, () => damage(random));
      const report = reconciler.repair(next);
      const after = `seed ${SEED}, round ${round}: ${damages.join("\n")}`;
      expect(report.errors, after).to.deep.equal([]);
      expectExactly(next, after);
      expect(foreign(true), after).to.equal(before);
      await new Promise((resolve) => setImmediate(resolve));
    }
    ping.kill("SIGINT");
    await once(ping, "close");
    const [, sent, received] = /(\d+) packets transmitted, (\d+) received/.exec(said)!;
    expect(Number(sent) - Number(received)).to.be.at.most(1);
    reconciler.teardown();
    expect(foreign(true)).to.equal(before);
  });

  it("has its rules again after a firewall was reloaded", () => {
    const reconciler = new Reconciler(scratch.place);
    done(reconciler.apply(REPRESENTATIVE));
    makeForeign();
    const before = foreign(false);
    scratch.netns.exec("nft", "flush", "ruleset");
    scratch.netns.exec("nft", "add table inet reloaded; add chain inet reloaded c");
    done(reconciler.repair(REPRESENTATIVE));
    expectExactly(REPRESENTATIVE, "flush");
    expect(scratch.netns.exec("nft", "list", "table", "inet", "reloaded")).to.contain("chain c");
    expect(foreign(false)).to.equal(before);
  });

  it(`converges when the agent ended after any op of a plan (SEED=${SEED})`, () => {
    const plan = (desired: HostNetworks) => {
      const kernel = new Kernel(scratch.place);
      const state = observe(kernel);
      const target = targetOf(desired, state);
      learnSysctls(kernel, target, state);
      return { kernel, ops: planTarget(target, state) };
    };
    const { length } = plan(REPRESENTATIVE).ops;
    expect(length).to.be.above(100);
    for (let k = SEED % STRIDE; k <= length; k += STRIDE) {
      const desired = representative(k);
      const { kernel, ops } = plan(desired);
      // What the last round's containers left may still be in the way of single ops.
      execute(ops.slice(0, k), kernel, () => {});
      kernel.releaseAll();
      const reconciler = new Reconciler(scratch.place);
      done(reconciler.apply(desired));
      expectExactly(desired, `after ${k} ops`);
      done(reconciler.teardown());
    }
  });
});
