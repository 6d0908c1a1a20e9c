// Damage by the tools that people use, noticed by the kernel's notifications and repaired: the whole way through the worker.

import { expect } from "chai";
import { HostNetworking } from "#net/exec/host-networking.ts";
import { type ScratchHost, scratchHost } from "#net/exec/testing/scratch-host.ts";
import { bridgeName, hostEndName } from "#net/model/ifname.ts";
import { type Difference, renderDifference } from "#net/plan/differences.ts";
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

describe("what others change", function () {
  this.timeout(30_000);
  let scratch: ScratchHost;
  let networking: HostNetworking;
  let disturbed: Set<string>;
  const plain = overlayNetwork(1);
  const overlay = { ...plain, services: [virtualService(plain, "web", 100, [3])] };
  const bridge = bridgeNetwork(1, { options: { "com.docker.network.bridge.enable_icc": "false" } });
  const bridgeLink = bridgeName(bridge.id, bridge.name);
  const desired = host({
    networks: [overlay, bridge],
    containers: [container("t2", attach(overlay, 2), attach(bridge, 2, "eth1")), container("t3", attach(overlay, 3))],
    remotes: [remote(overlay, 9)],
  });
  const outer = hostEndName("c-t2", "eth0");

  beforeEach(async () => {
    scratch = scratchHost();
    scratch.netns.exec("ip", "link", "add", "dev", "uplink", "type", "bridge");
    scratch.netns.exec("ip", "addr", "add", "192.0.2.1/24", "dev", "uplink");
    scratch.netns.exec("ip", "link", "set", "dev", "uplink", "up");
    disturbed = new Set();
    networking = await HostNetworking.start(scratch.place, (namespaces) => {
      for (const ns of namespaces) disturbed.add(ns);
    });
    expect((await networking.apply(desired)).errors).to.deep.equal([]);
  });
  afterEach(async () => {
    await networking.teardown();
    await networking.stop();
    scratch.remove();
  });

  const settled = () => new Promise((resolve) => setTimeout(resolve, 250));

  it("is nothing when it was this process, once and again", async () => {
    await settled();
    await networking.apply(host({ ...desired, containers: desired.containers.slice(0, 1) }));
    await networking.apply(desired);
    await networking.apply({ ...desired, networks: [plain, bridge], remotes: [] });
    await networking.repair(desired);
    await settled();
    expect([...disturbed]).to.deep.equal([]);
  });

  it("is nothing when it is not ours", async () => {
    const { exec } = scratch.netns;
    exec("ip", "link", "add", "dev", "docker0", "type", "bridge");
    exec("ip", "link", "set", "dev", "docker0", "up");
    exec("ip", "route", "add", "198.51.100.0/24", "dev", "uplink");
    exec("ip", "rule", "add", "pref", "99", "table", "9");
    exec("nft", "add table inet mine; add chain inet mine c; add rule inet mine c accept");
    scratch.inside("o-4097", "ip", "neigh", "replace", "10.1.0.77", "lladdr", macOf(77), "dev", "br0", "nud", "stale");
    await settled();
    expect([...disturbed]).to.deep.equal([]);
  });

  type Damage = { readonly ns: string; readonly command: string; readonly found: RegExp };
  const DAMAGES: readonly Damage[] = [
    { ns: "", command: `ip link del dev ${bridgeLink}`, found: /link ts-.*: missing/ },
    {
      ns: "",
      command: `sh -c 'ip link set dev ${bridgeLink} down; ip link set dev ${bridgeLink} name renamed'`,
      found: /link renamed: unexpected/,
    },
    // With its last address the kernel takes the neighbours of a link.
    { ns: "o-4097", command: "ip addr add 10.200.0.1/24 dev vxlan0", found: /10\.200\.0\.1.*unexpected/ },
    { ns: "", command: "ip link set dev tse4097 down", found: /tse4097: down instead of up/ },
    { ns: "", command: "nft flush ruleset", found: /host: nftables/ },
    { ns: "", command: "nft insert rule inet tswarm forward drop", found: /host: nftables/ },
    { ns: "", command: "sysctl -qw net.ipv4.ip_forward=0", found: /ip_forward: 0 instead of 1/ },
    { ns: "", command: "ip addr add 192.0.2.99/32 dev tse4097", found: /192\.0\.2\.99\/32 on tse4097: unexpected/ },
    { ns: "", command: "ip rule add pref 50 table 5 protocol 144", found: /rule .*50.*unexpected/ },
    { ns: "o-4097", command: `bridge fdb del ${macOf(9)} dev vxlan0 dst 192.0.2.2`, found: /fdb .*missing/ },
    {
      ns: "o-4097",
      command: `bridge fdb replace ${macOf(9)} dev vxlan0 dst 192.0.2.7`,
      found: /fdb .*192.0.2.7 instead of 192.0.2.2/,
    },
    {
      ns: "o-4097",
      command: `bridge link set dev ${outer} isolated on`,
      found: /isolated true instead of isolated false/,
    },
    { ns: "o-4097", command: "ip neigh flush dev vxlan0 nud permanent", found: /neighbour 10\.1\.0\.9 .*missing/ },
    { ns: "o-4097", command: `ip link set dev ${outer} nomaster`, found: /port of none instead of port of br0/ },
    { ns: "o-4097", command: "ip link set dev br0 mtu 1200", found: /mtu 1200 instead of mtu 1450/ },
    { ns: "o-4097", command: "ip link set dev vxlan0 down", found: /vxlan0: down instead of up/ },
    { ns: "c-t2", command: "ip route del default", found: /route 0\.0\.0\.0\/0: missing/ },
    { ns: "c-t2", command: "ip link set dev eth0 address 02:00:00:00:00:77", found: /mac .*:77 instead of/ },
    { ns: "c-t2", command: "ip addr flush dev eth0 scope global", found: /10\.1\.0\.2\/24 on eth0: missing/ },
    { ns: "c-t2", command: "nft delete table inet tswarm", found: /c-t2: nftables .*missing/ },
    {
      ns: "c-t3",
      command: "sh -c 'ip link set dev eth0 down; ip link set dev eth0 up'",
      found: /c-t3: route .*missing/,
    },
  ];

  it("is noticed, looked at where it is, and set right", async () => {
    for (const { ns, command, found } of DAMAGES) {
      disturbed.clear();
      const argv = command.startsWith("sh ") ? ["sh", "-c", command.slice(7, -1)] : command.split(" ");
      if (ns === "") scratch.netns.exec(argv[0]!, ...argv.slice(1));
      else scratch.inside(ns, ...argv);
      for (let ms = 0; !disturbed.has(ns); ms += 5) {
        if (ms > 3_000) expect.fail(`not noticed: ${command}`);
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
      const { drift, errors } = await networking.repair(desired, new Set(disturbed));
      expect(errors, command).to.deep.equal([]);
      expect(drift.map(renderDifference).join("\n"), command).to.match(found);
      const left: readonly Difference[] = (await networking.inspect(desired)).differences;
      expect(left.map(renderDifference), command).to.deep.equal([]);
    }
  });
});
