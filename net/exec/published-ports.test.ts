// Published ports on two hosts of a mesh, and a client on the segment that joins them: who is reached, and whom the backend
// sees. The backends answer with their name and the address that they see.

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { expect } from "chai";
import { type ApplyReport, Reconciler } from "#net/exec/reconciler.ts";
import { type ScratchHost, scratchHost } from "#net/exec/testing/scratch-host.ts";
import { releasePort, takePort } from "#net/kernel/listeners.ts";
import { type ScratchNetns, scratchNetns } from "#net/kernel/scratch-netns.ts";
import type { HostNetwork, HostNetworks, MeshMember, PublishedPort } from "#net/model/host-networks.ts";
import { deriveMac } from "#net/model/mac.ts";
import { attach, bridgeNetwork, container, overlayNetwork, remote } from "#net/plan/testdata.ts";

type Host = ScratchHost & { readonly reconciler: Reconciler };
type Side = 0 | 1;

const VTEPS = ["192.0.2.1", "192.0.2.2"] as const;
const ADDRESSES6 = ["2001:db8::1", "2001:db8::2"] as const;
const CLIENT = "192.0.2.254";
const CLIENT6 = "2001:db8::254";

const mesh = overlayNetwork(1);
const member = (side: Side): MeshMember => ({
  ipv4: `10.1.0.20${side}`,
  ipv6: `fd00:1::20${side}`,
  mac: deriveMac(`mesh ${side}`),
  vtep: VTEPS[side],
});
const meshOn = (side: Side): HostNetwork => ({
  ...mesh,
  mesh: { self: member(side), others: [member(side === 0 ? 1 : 0)] },
});
const app = overlayNetwork(2);
const bridge = bridgeNetwork(1);
/** Where the client is. */
const lan: HostNetwork = {
  ...bridgeNetwork(5),
  driver: "macvlan",
  parent: "uplink",
  subnets: [
    { subnet: "192.0.2.0/24", gateway: CLIENT },
    { subnet: "2001:db8::/64", gateway: CLIENT6 },
  ],
};

const port = (port: number, backends: readonly number[], change: Partial<PublishedPort> = {}): PublishedPort => ({
  protocol: "tcp",
  port,
  hostIp: "",
  target: 8000,
  backends: backends.map((n) => ({ ipv4: `10.1.0.${n}`, ipv6: `fd00:1::${n.toString(16)}` })),
  ...change,
});

/** t2 and m7 run on the first host, t3 on the second; c9 and b9 are clients on the first, in an overlay and on a bridge. */
const PORTS: readonly PublishedPort[] = [
  port(8080, [2, 3]),
  port(8081, [2]),
  port(8082, [3]),
  port(8081, [2], { protocol: "udp" }),
  port(8082, [3], { protocol: "udp" }),
  port(8083, [3], { hostIp: VTEPS[0] }),
  port(8086, [7]),
  port(8087, [], { backends: [{ ipv4: "172.20.1.7", ipv6: "" }] }),
];

const desired = (side: Side): HostNetworks => ({
  node: { vtep: VTEPS[side], dataPathPort: 4789 },
  networks: side === 0 ? [meshOn(0), app, bridge, lan] : [meshOn(1)],
  containers:
    side === 0
      ? [
          container("t2", attach(mesh, 2)),
          container("c9", attach(app, 9)),
          container("b9", attach(bridge, 9)),
          container("m7", onLan, { ...attach(mesh, 7, "eth1"), gatewayPriority: 1 }, attach(bridge, 7, "eth2")),
        ]
      : [container("t3", attach(mesh, 3))],
  remotes: side === 0 ? [remote(mesh, 3, VTEPS[1])] : [2, 7].map((n) => remote(mesh, n, VTEPS[0])),
  published: side === 0 ? [...PORTS, hostMode] : PORTS,
});
const onLan = { ...attach(lan, 7), ipv4: "192.0.2.7/24", ipv6: "2001:db8::7/64" };
const hostMode = port(8090, [], { backends: [{ ipv4: "172.20.1.9", ipv6: "" }] });

const SERVER = `
const name = process.argv[1];
const answer = (address) => name + " " + address.replace("::ffff:", "");
require("net").createServer((s) => s.on("error", () => {}).end(answer(s.remoteAddress))).listen(8000, process.argv[2], () => {
  const udp = require("dgram").createSocket(process.argv[2] === "::" ? "udp6" : "udp4");
  udp.on("message", (_, from) => udp.send(answer(from.address), from.port, from.address));
  udp.bind(8000, process.argv[2], () => console.log("ready"));
});`;
const TCP_CLIENT = `
const s = require("net").connect(Number(process.argv[2]), process.argv[1]);
s.setTimeout(2000, () => { console.log("timeout"); process.exit(); });
s.on("error", (e) => { console.log(e.code); process.exit(); });
s.on("data", (d) => { console.log(String(d)); process.exit(); });`;
const UDP_CLIENT = `
const s = require("dgram").createSocket(process.argv[1].includes(":") ? "udp6" : "udp4");
setTimeout(() => { console.log("timeout"); process.exit(); }, 2000);
s.on("message", (d) => { console.log(String(d)); process.exit(); });
s.on("error", (e) => { console.log(e.code); process.exit(); });
s.connect(Number(process.argv[2]), process.argv[1], () => s.send("?"));`;

describe("published ports on two hosts", function () {
  this.timeout(60_000);
  const hosts: Host[] = [];
  let segment: ScratchNetns | undefined;
  const children: ChildProcess[] = [];
  const held: number[] = [];

  const done = (report: ApplyReport): ApplyReport => {
    expect(report.errors).to.deep.equal([]);
    return report;
  };
  const ipIn =
    (netns: ScratchNetns) =>
    (command: string): void =>
      void netns.exec("ip", ...command.split(" "));

  before(async () => {
    segment = scratchNetns();
    const upstream = ipIn(segment);
    segment.exec("sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0");
    upstream("link add segment type bridge");
    upstream("link set segment up");
    upstream(`addr add ${CLIENT}/24 dev segment`);
    upstream(`addr add ${CLIENT6}/64 dev segment nodad`);
    upstream("link set lo up");
    for (const side of [0, 1] as const) {
      const host = scratchHost();
      hosts.push({ ...host, reconciler: new Reconciler(host.place) });
      host.netns.exec("sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0");
      upstream(`link add p${side} master segment type veth peer name uplink netns ${host.netns.name}`);
      upstream(`link set p${side} up`);
      const ip = ipIn(host.netns);
      ip("link set lo up");
      ip(`addr add ${VTEPS[side]}/24 dev uplink`);
      ip(`addr add ${ADDRESSES6[side]}/64 dev uplink nodad`);
      ip("link set uplink up");
      ip(`route add default via ${CLIENT}`);
      ip(`route add default via ${CLIENT6}`);
    }
    for (const side of [0, 1] as const) done(hosts[side]!.reconciler.apply(desired(side)));
    const serve = async (host: Host, task: string, address: string): Promise<void> => {
      const child = host.spawn(`c-${task}`, process.execPath, "-e", SERVER, task, address);
      children.push(child);
      await once(child.stdout, "data");
    };
    // As the agent keeps them.
    held.push(takePort(hosts[0]!.netns.path, { protocol: "udp", port: 8081, hostIp: "" })!);
    await serve(hosts[0]!, "t2", "::");
    await serve(hosts[1]!, "t3", "::");
    await serve(hosts[0]!, "b9", "0.0.0.0");
    await serve(hosts[0]!, "m7", "::");
  });

  after(() => {
    for (const child of children) child.kill();
    held.forEach(releasePort);
    for (const host of hosts) {
      host.reconciler.teardown();
      host.remove();
    }
    segment?.remove();
  });

  const run = (ns: string, script: string, address: string, to: number): Promise<string> =>
    new Promise((resolve) => {
      const child = spawn("nsenter", [`--net=${ns}`, process.execPath, "-e", script, address, String(to)]);
      let out = "";
      child.stdout.on("data", (data) => void (out += data));
      child.on("close", () => resolve(out.trim()));
    });
  const fromClient = (script: string, address: string, to: number) => run(segment!.path, script, address, to);
  const fromHost = (side: Side, script: string, address: string, to: number) =>
    run(hosts[side]!.netns.path, script, address, to);
  const fromContainer = (task: string, script: string, address: string, to: number) =>
    run(`${hosts[0]!.place.runDir}/netns/c-${task}`, script, address, to);

  it("has nothing left to do after applying", () => {
    for (const side of [0, 1] as const)
      expect(done(hosts[side]!.reconciler.repair(desired(side))).drift).to.deep.equal([]);
  });

  for (const [name, script] of [
    ["TCP", TCP_CLIENT],
    ["UDP", UDP_CLIENT],
  ] as const)
    it(`${name}: any host leads to local and far backends, which see the client`, async () => {
      expect(await fromClient(script, VTEPS[0], 8081)).to.equal(`t2 ${CLIENT}`);
      expect(await fromClient(script, VTEPS[0], 8082)).to.equal(`t3 ${CLIENT}`);
      expect(await fromClient(script, VTEPS[1], 8081)).to.equal(`t2 ${CLIENT}`);
      expect(await fromClient(script, VTEPS[1], 8082)).to.equal(`t3 ${CLIENT}`);
      expect(await fromClient(script, ADDRESSES6[0], 8081)).to.equal(`t2 ${CLIENT6}`);
      expect(await fromClient(script, ADDRESSES6[0], 8082)).to.equal(`t3 ${CLIENT6}`);
      expect(await fromClient(script, ADDRESSES6[1], 8081)).to.equal(`t2 ${CLIENT6}`);
    });

  it("spreads connections over all backends", async () => {
    const answers = new Set<string>();
    for (let i = 0; i < 30 && answers.size < 2; i++) answers.add(await fromClient(TCP_CLIENT, VTEPS[1], 8080));
    expect([...answers].toSorted()).to.deep.equal([`t2 ${CLIENT}`, `t3 ${CLIENT}`]);
  });

  it("answers on one address only when asked to", async () => {
    expect(await fromClient(TCP_CLIENT, VTEPS[0], 8083)).to.equal(`t3 ${CLIENT}`);
    expect(await fromClient(TCP_CLIENT, ADDRESSES6[0], 8083)).to.equal("ECONNREFUSED");
  });

  it("is reached from the hosts themselves, over their loopback address too", async () => {
    expect(await fromHost(0, TCP_CLIENT, VTEPS[0], 8081)).to.equal(`t2 ${VTEPS[0]}`);
    expect(await fromHost(0, TCP_CLIENT, VTEPS[0], 8082)).to.equal(`t3 ${VTEPS[0]}`);
    expect(await fromHost(0, TCP_CLIENT, "127.0.0.1", 8081)).to.match(/^t2 /);
    expect(await fromHost(0, TCP_CLIENT, "127.0.0.1", 8082)).to.match(/^t3 /);
    expect(await fromHost(1, UDP_CLIENT, "127.0.0.1", 8081)).to.match(/^t2 /);
    expect(await fromHost(0, TCP_CLIENT, "::1", 8081)).to.equal("ECONNREFUSED");
    expect(await fromHost(0, UDP_CLIENT, "::1", 8081)).to.equal("ECONNREFUSED");
    expect(await fromHost(0, TCP_CLIENT, "127.0.0.1", 8090)).to.match(/^b9 /);
  });

  it("is reached from containers: of other networks, of the mesh, and the backend itself", async () => {
    for (const task of ["c9", "b9", "t2"]) {
      expect(await fromContainer(task, TCP_CLIENT, VTEPS[0], 8081), task).to.match(/^t2 /);
      expect(await fromContainer(task, TCP_CLIENT, VTEPS[0], 8082), task).to.match(/^t3 /);
      expect(await fromContainer(task, TCP_CLIENT, VTEPS[1], 8081), task).to.match(/^t2 /);
      expect(await fromContainer(task, TCP_CLIENT, VTEPS[0], 8090), task).to.match(/^b9 /);
    }
  });

  it("publishes a port of a container on a bridge, which sees the client", async () => {
    expect(await fromClient(TCP_CLIENT, VTEPS[0], 8090)).to.equal(`b9 ${CLIENT}`);
  });

  it("answers over the network that the port is on, also when the container is on the client's network too", async () => {
    for (const to of [8086, 8087]) {
      expect(await fromClient(TCP_CLIENT, VTEPS[0], to), String(to)).to.equal(`m7 ${CLIENT}`);
    }
    expect(await fromClient(TCP_CLIENT, ADDRESSES6[0], 8086)).to.equal(`m7 ${CLIENT6}`);
    expect(await fromClient(TCP_CLIENT, VTEPS[1], 8086)).to.equal(`m7 ${CLIENT}`);
  });

  it("opens no other way: not to other ports of a backend, not to the host's loopback address", async () => {
    segment!.exec("ip", "route", "add", "10.1.0.0/24", "via", VTEPS[0]);
    segment!.exec("ip", "route", "add", "172.20.1.0/24", "via", VTEPS[0]);
    expect(await fromClient(TCP_CLIENT, "10.1.0.2", 8000)).to.equal("timeout");
    const host = hosts[0]!;
    const child = spawn("nsenter", [`--net=${host.netns.path}`, process.execPath, "-e", SERVER, "host", "127.0.0.1"]);
    children.push(child);
    await once(child.stdout, "data");
    host.inside("c-b9", "ip", "route", "add", "127.0.0.0/8", "via", "172.20.1.1", "dev", "eth0", "table", "7");
    host.inside("c-b9", "ip", "rule", "add", "to", "127.0.0.9", "lookup", "7", "priority", "0");
    host.inside("c-b9", "sysctl", "-qw", "net.ipv4.conf.all.route_localnet=1");
    expect(await fromContainer("b9", TCP_CLIENT, "127.0.0.9", 8000)).not.to.match(/^host/);
    host.inside("c-b9", "ip", "rule", "del", "to", "127.0.0.9", "lookup", "7", "priority", "0");
    host.inside("c-b9", "ip", "route", "flush", "table", "7");
  });

  it("keeps a connection that was opened before its backend left", async () => {
    const echo = `require("net").createServer((s) => s.on("data", (d) => s.write(d)).on("error", () => {})).listen(8001, "::", () => console.log("ready"))`;
    const server = hosts[1]!.spawn("c-t3", process.execPath, "-e", echo);
    children.push(server);
    await once(server.stdout, "data");
    const published = [port(8084, [3], { target: 8001 })];
    done(hosts[0]!.reconciler.apply({ ...desired(0), published }));
    const talk = `const s = require("net").connect(8084, "${VTEPS[0]}"); s.on("data", (d) => process.stdout.write(d)); process.stdin.on("data", (d) => s.write(d))`;
    const client = spawn("nsenter", [`--net=${segment!.path}`, process.execPath, "-e", talk]);
    children.push(client);
    client.stdin.write("one");
    expect(String((await once(client.stdout, "data"))[0])).to.equal("one");
    done(hosts[0]!.reconciler.apply({ ...desired(0), published: [port(8084, [], { target: 8001 })] }));
    expect(await fromClient(TCP_CLIENT, VTEPS[0], 8084)).to.equal("ECONNREFUSED");
    client.stdin.write("two");
    expect(String((await once(client.stdout, "data"))[0])).to.equal("two");
    done(hosts[0]!.reconciler.apply(desired(0)));
  });
});
