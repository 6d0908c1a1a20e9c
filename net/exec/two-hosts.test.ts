// Two hosts, each a namespace of its own, joined by a bridge in a third: wired by the product, looked at with iproute2, nft
// and ping.

import { type ChildProcess, execFileSync } from "node:child_process";
import { once } from "node:events";
import { expect } from "chai";
import { netnsPathOf } from "#net/exec/kernel.ts";
import { type ApplyReport, Reconciler } from "#net/exec/reconciler.ts";
import { type ScratchHost, scratchHost } from "#net/exec/testing/scratch-host.ts";
import { type ScratchNetns, scratchNetns } from "#net/kernel/scratch-netns.ts";
import type { Attachment, HostNetwork, HostNetworks } from "#net/model/host-networks.ts";
import { bridgeName } from "#net/model/ifname.ts";
import { renderDifference } from "#net/plan/differences.ts";
import { attach, bridgeNetwork, container, macOf, overlayNetwork, remote, virtualService } from "#net/plan/testdata.ts";

type Host = ScratchHost & { readonly reconciler: Reconciler };

const VTEPS = ["192.0.2.1", "192.0.2.2"] as const;
const VTEPS6 = ["2001:db8::2", "2001:db8::3"] as const;
const UPSTREAM = "203.0.113.1";
const UPSTREAM6 = "2001:db8:ffff::1";
const MARKER = /tswarm/;

const ipIn =
  (netns: ScratchNetns) =>
  (command: string): void =>
    void netns.exec("ip", ...command.split(" "));

const json = (host: Host, ns: string, ...command: string[]) => JSON.parse(host.inside(ns, ...command) || "[]");

const ping = (host: Host, taskId: string, address: string, waitSeconds = 2): string =>
  host.inside(`c-${taskId}`, "ping", "-c1", "-W", String(waitSeconds), "-n", address);

const expectUnreachable = (host: Host, taskId: string, address: string): void => {
  expect(host.inside(`c-${taskId}`, "sh", "-c", `ping -c1 -W0.3 -n ${address} || true`)).to.match(/ 0 received/);
};

/** A server in a container that says its name to whoever connects; its address counts, not what comes. */
const serve = async (host: Host, taskId: string, family: "-4" | "-6" = "-4") => {
  const script = `require("net").createServer((s) => s.on("error", () => {}).end(${JSON.stringify(taskId)} + " " + s.remoteAddress)).listen(8080, "${family === "-4" ? "0.0.0.0" : "::"}", () => console.log("ready"))`;
  const child = host.spawn(`c-${taskId}`, process.execPath, "-e", script);
  await once(child.stdout, "data");
  return child;
};

const connect = (host: Host, taskId: string, address: string): string => {
  const script = `const s = require("net").connect(8080, "${address}"); s.setTimeout(3000, () => { console.log("timeout"); process.exit(); }); s.on("error", (e) => console.log(e.code)); s.on("data", (d) => console.log(String(d)))`;
  return host.inside(`c-${taskId}`, process.execPath, "-e", script).trim();
};

describe("wiring of two hosts", function () {
  this.timeout(60_000);
  const app = overlayNetwork(1);
  const overlay: HostNetwork = {
    ...app,
    services: [
      virtualService(app, "web", 100, [3]),
      virtualService(app, "self", 101, [2]),
      virtualService(app, "idle", 102),
    ],
  };
  const bridge = bridgeNetwork(1);
  const quiet = bridgeNetwork(2, { options: { "com.docker.network.bridge.enable_icc": "false" } });
  const hosts: Host[] = [];
  let segment: ScratchNetns | undefined;
  const children: ChildProcess[] = [];

  const desired = (me: 0 | 1, extra: Partial<HostNetworks> = {}): HostNetworks => ({
    node: { vtep: VTEPS[me], dataPathPort: 4789 },
    networks: [overlay],
    containers: [container(`t${2 + me}`, attach(overlay, 2 + me))],
    remotes: [remote(overlay, 3 - me, VTEPS[me === 0 ? 1 : 0])],
    published: [],
    ...extra,
  });

  const done = (report: ApplyReport): ApplyReport => {
    expect(report.errors).to.deep.equal([]);
    return report;
  };

  before(() => {
    segment = scratchNetns();
    const upstream = ipIn(segment);
    upstream("link add segment type bridge");
    upstream("link set segment up");
    upstream("addr add 192.0.2.254/24 dev segment");
    upstream(`addr add ${UPSTREAM}/32 dev lo`);
    upstream("addr add 2001:db8::254/64 dev segment nodad");
    upstream(`addr add ${UPSTREAM6}/128 dev lo nodad`);
    upstream("link set lo up");
    for (const [i, vtep] of VTEPS.entries()) {
      const host = scratchHost();
      hosts.push({ ...host, reconciler: new Reconciler(host.place) });
      upstream(`link add p${i} master segment type veth peer name uplink netns ${host.netns.name}`);
      upstream(`link set p${i} up`);
      const ip = ipIn(host.netns);
      ip("link set lo up");
      ip(`addr add ${vtep}/24 dev uplink`);
      ip("link set uplink up");
      ip("route add default via 192.0.2.254");
      ip(`addr add ${VTEPS6[i]}/64 dev uplink nodad`);
      ip("route add default via 2001:db8::254");
    }
  });

  after(() => {
    for (const child of children) child.kill();
    for (const host of hosts) {
      host.reconciler.teardown();
      host.remove();
    }
    segment?.remove();
  });

  it("wires an overlay over both, and has nothing left to do", () => {
    for (const me of [0, 1] as const) {
      done(hosts[me]!.reconciler.apply(desired(me)));
      expect(done(hosts[me]!.reconciler.repair(desired(me))).drift).to.deep.equal([]);
    }
  });

  it("passes IPv4 and IPv6 between the containers, at the full MTU", () => {
    expect(ping(hosts[0]!, "t2", "10.1.0.3")).to.match(/1 received/);
    expect(ping(hosts[0]!, "t2", "fd00:1::3")).to.match(/1 received/);
    expect(hosts[0]!.inside("c-t2", "ping", "-c1", "-W2", "-M", "do", "-s", "1422", "10.1.0.3")).to.match(/1 received/);
  });

  it("has the forwarding entries and neighbours that iproute2 shows", () => {
    const fdb = json(hosts[0]!, "o-4097", "bridge", "-j", "fdb", "show", "dev", "vxlan0") as Record<string, unknown>[];
    expect(fdb.filter((e) => e.dst === VTEPS[1]).map((e) => e.mac)).to.deep.equal([macOf(3)]);
    const neighbours = json(hosts[0]!, "o-4097", "ip", "-j", "neigh", "show", "dev", "vxlan0") as Record<
      string,
      unknown
    >[];
    const permanent = neighbours.filter((n) => String(n.state) === "PERMANENT").map((n) => `${n.dst} ${n.lladdr}`);
    expect(permanent.toSorted()).to.deep.equal([`10.1.0.3 ${macOf(3)}`, `fd00:1::3 ${macOf(3)}`]);
    const [vxlan] = json(hosts[0]!, "o-4097", "ip", "-j", "-d", "link", "show", "vxlan0") as [
      { linkinfo: { info_data: object } },
    ];
    expect(vxlan.linkinfo.info_data).to.include({
      id: 4097,
      local: VTEPS[0],
      port: 4789,
      learning: false,
      proxy: true,
    });
  });

  it("leaves through its own host, with the host's address", () => {
    expect(ping(hosts[0]!, "t2", UPSTREAM)).to.match(/1 received/);
    expect(ping(hosts[1]!, "t3", UPSTREAM)).to.match(/1 received/);
    expect(ping(hosts[0]!, "t2", UPSTREAM6)).to.match(/1 received/);
  });

  it("reaches a service by its virtual address; the backend sees the client", async () => {
    children.push(await serve(hosts[1]!, "t3", "-6"));
    expect(connect(hosts[0]!, "t2", "10.1.0.100")).to.equal("t3 ::ffff:10.1.0.2");
    expect(connect(hosts[0]!, "t2", "fd00:1::64")).to.equal("t3 fd00:1::2");
  });

  it("reaches itself by a virtual address", async () => {
    children.push(await serve(hosts[0]!, "t2"));
    expect(connect(hosts[0]!, "t2", "10.1.0.101")).to.match(/^t2 /);
  });

  it("is refused at once by a service without backends", () => {
    expect(connect(hosts[0]!, "t2", "10.1.0.102")).to.equal("ECONNREFUSED");
  });

  it("keeps an established connection while backends change", async () => {
    const script = `const s = require("net").createServer((s) => s.on("data", (d) => s.write(d))).listen(9090, "0.0.0.0", () => console.log("ready"))`;
    const server = hosts[1]!.spawn("c-t3", process.execPath, "-e", script);
    children.push(server);
    await once(server.stdout, "data");
    const talk = `const s = require("net").connect(9090, "10.1.0.100"); s.on("data", (d) => process.stdout.write(d)); process.stdin.on("data", (d) => s.write(d)); s.on("error", (e) => console.log(e.code))`;
    const client = hosts[0]!.spawn("c-t2", process.execPath, "-e", talk);
    children.push(client);
    client.stdin.write("one");
    expect(String((await once(client.stdout, "data"))[0])).to.equal("one");
    const without = { ...overlay, services: overlay.services.map((s) => ({ ...s, backends: [] })) };
    done(hosts[0]!.reconciler.apply(desired(0, { networks: [without] })));
    expect(connect(hosts[0]!, "t2", "10.1.0.100")).to.equal("ECONNREFUSED");
    client.stdin.write("two");
    expect(String((await once(client.stdout, "data"))[0])).to.equal("two");
    done(hosts[0]!.reconciler.apply(desired(0)));
  });

  it("finds and repairs what others changed", () => {
    const host = hosts[0]!;
    json(host, "o-4097", "bridge", "-j", "fdb", "del", macOf(3), "dev", "vxlan0", "dst", VTEPS[1]);
    json(host, "c-t2", "ip", "-j", "route", "del", "default");
    json(host, "c-t2", "nft", "flush", "table", "inet", "tswarm");
    host.netns.exec("ip", "link", "del", "tse4097");
    const { drift } = done(host.reconciler.repair(desired(0)));
    const lines = drift.map(renderDifference);
    expect(lines).to.include(`o-4097: fdb ${macOf(3)} on vxlan0: missing (${VTEPS[1]})`);
    expect(lines).to.include("c-t2: route 0.0.0.0/0: missing (via 10.1.0.1 on eth0)");
    expect(lines.filter((line) => line.startsWith("c-t2: nftables table inet tswarm"))).to.have.length(1);
    expect(lines.filter((line) => line.startsWith("host: link tse4097: missing"))).to.have.length(1);
    expect(done(host.reconciler.repair(desired(0))).drift).to.deep.equal([]);
    expect(ping(host, "t2", UPSTREAM)).to.match(/1 received/);
    expect(ping(host, "t2", "10.1.0.3")).to.match(/1 received/);
  });

  it("repairs an overlay whose namespace someone removed", () => {
    const host = hosts[0]!;
    execFileSync("umount", [netnsPathOf(host.place.runDir, "o-4097")]);
    done(host.reconciler.repair(desired(0)));
    expect(done(host.reconciler.repair(desired(0))).drift).to.deep.equal([]);
    expect(ping(host, "t2", "10.1.0.3")).to.match(/1 received/);
    expect(ping(host, "t2", UPSTREAM6)).to.match(/1 received/);
  });

  it("copies frames with many receivers to the other hosts only when it is asked to", async () => {
    const listen = (kind: string) =>
      `const s = require("dgram").createSocket({ type: "udp4", reuseAddr: true }); s.on("message", (d) => { console.log(String(d)); process.exit(); }); s.bind(9999, "0.0.0.0", () => { ${kind} console.log("ready"); }); setTimeout(() => { console.log("nothing"); process.exit(); }, 700)`;
    const heard = async (to: string): Promise<string> => {
      const join = to.startsWith("239.") ? `s.addMembership("${to}", "10.1.0.3");` : "";
      const receiver = hosts[1]!.spawn("c-t3", process.execPath, "-e", listen(join));
      children.push(receiver);
      await once(receiver.stdout, "data");
      const send = `const s = require("dgram").createSocket("udp4"); s.bind(0, "10.1.0.2", () => { s.setBroadcast(true); s.setMulticastInterface("10.1.0.2"); s.send("hello", 9999, "${to}", () => process.exit()); })`;
      hosts[0]!.inside("c-t2", process.execPath, "-e", send);
      return String((await once(receiver.stdout, "data"))[0]).trim();
    };
    const replicate = (value: string): void => {
      const networks = [{ ...overlay, options: { replicate: value } }];
      for (const me of [0, 1] as const) done(hosts[me]!.reconciler.apply(desired(me, { networks })));
      expect(done(hosts[0]!.reconciler.repair(desired(0, { networks }))).drift).to.deep.equal([]);
    };
    const both = async (): Promise<string[]> => [await heard("239.1.2.3"), await heard("10.1.0.255")];
    expect(await both()).to.deep.equal(["nothing", "nothing"]);
    replicate("multicast");
    expect(await both()).to.deep.equal(["hello", "nothing"]);
    replicate("broadcast");
    expect(await both()).to.deep.equal(["nothing", "hello"]);
    replicate("all");
    expect(await both()).to.deep.equal(["hello", "hello"]);
    replicate("none");
    expect(await both()).to.deep.equal(["nothing", "nothing"]);
  });

  it("runs over an IPv6 underlay as well", () => {
    for (const me of [0, 1] as const) {
      const { remotes, ...rest } = desired(me);
      const moved = remotes.map((r) => ({ ...r, vtep: VTEPS6[me === 0 ? 1 : 0] }));
      done(hosts[me]!.reconciler.apply({ ...rest, remotes: moved, node: { vtep: VTEPS6[me], dataPathPort: 4790 } }));
    }
    expect(ping(hosts[0]!, "t2", "10.1.0.3")).to.match(/1 received/);
    expect(ping(hosts[1]!, "t3", "fd00:1::2")).to.match(/1 received/);
    expect(json(hosts[0]!, "c-t2", "ip", "-j", "link", "show", "eth0")[0].mtu).to.equal(1430);
    for (const me of [0, 1] as const) done(hosts[me]!.reconciler.apply(desired(me)));
    expect(ping(hosts[0]!, "t2", "10.1.0.3")).to.match(/1 received/);
  });

  it("wires bridges: containers reach each other, the outside and no other network", () => {
    const two = (network: HostNetwork, a: number): readonly [Attachment, Attachment] => [
      attach(network, a),
      attach(network, a + 1),
    ];
    const [b2, b3] = two(bridge, 12);
    const [q2, q3] = two(quiet, 14);
    const containers = [container("b12", b2), container("b13", b3), container("q14", q2), container("q15", q3)];
    const host = hosts[0]!;
    done(host.reconciler.apply(desired(0, { networks: [bridge, quiet], containers, remotes: [] })));
    expect(ping(host, "b12", "172.20.1.13")).to.match(/1 received/);
    expect(ping(host, "b12", UPSTREAM)).to.match(/1 received/);
    expect(ping(host, "q14", UPSTREAM)).to.match(/1 received/);
    expectUnreachable(host, "b12", "172.20.2.14");
    expectUnreachable(host, "q14", "172.20.2.15");
    expect(host.inside("c-b12", "ip", "-6", "addr")).to.equal("");
    const again = desired(0, { networks: [bridge, quiet], containers, remotes: [] });
    expect(done(host.reconciler.repair(again)).drift).to.deep.equal([]);
    host.netns.exec("ip", "link", "del", bridgeName(quiet.id, quiet.name));
    expect(done(host.reconciler.repair(again)).drift).not.to.deep.equal([]);
    expect(done(host.reconciler.repair(again)).drift).to.deep.equal([]);
    expectUnreachable(host, "q14", "172.20.2.15");
    expect(ping(host, "q14", UPSTREAM)).to.match(/1 received/);
  });

  it("wires a routed bridge: open ports are reached by the container's own address, which the outside sees", async () => {
    const host = hosts[0]!;
    const options = {
      "com.docker.network.bridge.gateway_mode_ipv4": "routed",
      "com.docker.network.bridge.name": "shop0",
    };
    const routed = bridgeNetwork(3, { options });
    const published = [
      { protocol: "tcp", port: 8080, hostIp: "", target: 8080, backends: [{ ipv4: "172.20.3.12", ipv6: "" }] },
    ] as const;
    const containers = [container("r12", attach(routed, 12)), container("r13", attach(routed, 13))];
    done(host.reconciler.apply(desired(0, { networks: [routed], containers, remotes: [], published })));
    expect(host.netns.ip("link").map((l) => l.ifname)).to.include("shop0");
    const upstream = ipIn(segment!);
    upstream(`route add 172.20.3.0/24 via ${VTEPS[0]}`);
    children.push(await serve(host, "r12"), await serve(host, "r13"));
    const inSegment = (address: string): string =>
      execFileSync(
        "nsenter",
        [`--net=${segment!.path}`, "curl", "-s", "-m", "1", "--http0.9", `http://${address}:8080/`],
        {
          encoding: "utf8",
        },
      );
    expect(inSegment("172.20.3.12")).to.equal("r12 192.0.2.254");
    expect(() => inSegment("172.20.3.13")).to.throw();
    expect(() => inSegment(VTEPS[0])).to.throw();
    expect(host.inside("c-r13", "ping", "-c1", "-W2", "-n", "192.0.2.254")).to.match(/1 received/);
    upstream("route del 172.20.3.0/24");
    expect(host.inside("c-r13", "sh", "-c", "ping -c1 -W0.3 -n 192.0.2.254 || true")).to.match(/ 0 received/);
  });

  it("does not take a bridge of someone else for its own", () => {
    const host = hosts[0]!;
    host.netns.exec("ip", "link", "add", "theirs0", "type", "bridge");
    const options = { "com.docker.network.bridge.name": "theirs0" };
    const network = bridgeNetwork(4, { options });
    const wanted = desired(0, { networks: [network], containers: [container("x2", attach(network, 2))], remotes: [] });
    const { errors } = host.reconciler.apply(wanted);
    expect(errors.map((e) => e.code)).to.include("conflict");
    done(host.reconciler.apply(desired(0)));
    expect(host.netns.ip("link").find((l) => l.ifname === "theirs0")).to.not.have.property("ifalias");
    host.netns.exec("ip", "link", "del", "theirs0");
  });

  it("brings back a network that was just removed", () => {
    const host = hosts[0]!;
    for (let i = 0; i < 3; i++) {
      done(host.reconciler.apply(desired(0)));
      done(host.reconciler.apply(desired(0, { networks: [], containers: [], remotes: [] })));
    }
  });

  it("leaves nothing of ours behind", () => {
    for (const { reconciler, netns } of hosts) {
      done(reconciler.teardown());
      const links = netns.ip("link").map((l) => l.ifname);
      expect(links).to.have.members(["lo", "uplink"]);
      expect(netns.exec("nft", "list", "ruleset")).not.to.match(MARKER);
    }
  });
});
