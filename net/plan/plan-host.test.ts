import { readFileSync, writeFileSync } from "node:fs";
import { expect } from "chai";
import type { HostNetwork, HostNetworks, MeshMember } from "#net/model/host-networks.ts";
import type { NetOp } from "#net/plan/op.ts";
import { planHost } from "#net/plan/plan-host.ts";
import { renderPlan } from "#net/plan/render.ts";
import {
  attach,
  bridgeNetwork,
  container,
  emptyHost,
  host,
  macOf,
  NODE,
  OTHER_VTEP,
  overlayNetwork,
  remote,
  virtualService,
} from "#net/plan/testdata.ts";

const GOLDEN = new URL("./testdata/plans.txt", import.meta.url);

const app = overlayNetwork(1);
const both = virtualService(app, "web", 100, [2]);
const web = { ...both, backends: [...both.backends, { ipv4: "10.1.0.9", ipv6: "" }] };
const idle = { ...virtualService(app, "idle", 101), ipv6: "" };
const overlay = { ...app, services: [web, idle] };
const internal = overlayNetwork(2, { internal: true, options: { "com.docker.network.driver.mtu": "1400" } });
const bridge = bridgeNetwork(1);
const quiet = bridgeNetwork(2, { internal: true, options: { "com.docker.network.bridge.enable_icc": "false" } });

const member = (n: number, vtep: string): MeshMember => ({
  ipv4: `10.3.0.${n}`,
  ipv6: `fd00:3::${n}`,
  mac: macOf(n),
  vtep,
});
const mesh = {
  ...overlayNetwork(3),
  mesh: { self: member(200, NODE.vtep), others: [member(201, OTHER_VTEP)] },
};
const addresses = (n: number) => ({ ipv4: `10.3.0.${n}`, ipv6: `fd00:3::${n}` });

const lan: HostNetwork = {
  ...bridgeNetwork(5),
  driver: "macvlan",
  parent: "uplink",
  options: { "host-access": "true" },
};
const ipvlan = (mode: string): HostNetwork => ({
  ...lan,
  driver: "ipvlan",
  options: { ipvlan_mode: mode, ipvlan_flag: "private" },
});

const HOSTS: Readonly<Record<string, HostNetworks>> = {
  none: host({ containers: [container("t1")] }),
  host: host({ containers: [{ taskId: "t1", netns: "", attachments: [] }] }),
  bridge: host({
    networks: [bridge, quiet],
    containers: [container("t1", attach(bridge, 2), attach(quiet, 2, "eth1"))],
  }),
  "default bridge": host({
    networks: [{ ...bridge, name: "bridge" }],
    containers: [container("t1", attach(bridge, 2))],
  }),
  overlay: host({
    networks: [overlay],
    containers: [container("t1", attach(overlay, 2))],
    remotes: [remote(overlay, 9)],
  }),
  "published ports": host({
    networks: [mesh, bridge],
    containers: [container("t1", attach(mesh, 2)), container("t2", attach(bridge, 2))],
    remotes: [remote(mesh, 9)],
    published: [
      { protocol: "tcp", port: 8080, hostIp: "", target: 80, backends: [addresses(2), addresses(9)] },
      { protocol: "udp", port: 53, hostIp: "192.0.2.1", target: 53, backends: [addresses(9)] },
      { protocol: "tcp", port: 8090, hostIp: "", target: 80, backends: [{ ipv4: "172.20.1.2", ipv6: "" }] },
    ],
  }),
  macvlan: host({ networks: [lan], containers: [container("t1", attach(lan, 2))] }),
  "macvlan on a VLAN, passthru": host({
    networks: [{ ...lan, parent: "uplink.50", options: { macvlan_mode: "passthru" } }],
    containers: [container("t1", attach(lan, 2))],
  }),
  "ipvlan l2": host({ networks: [ipvlan("l2")], containers: [container("t1", attach(lan, 2))] }),
  "ipvlan l3s": host({ networks: [ipvlan("l3s")], containers: [container("t1", attach(lan, 2))] }),
  "overlay that replicates multicast": host({
    networks: [{ ...internal, options: { replicate: "multicast" } }],
    containers: [container("t1", attach(internal, 2))],
    remotes: [remote(internal, 8), remote(internal, 9, "192.0.2.3")],
  }),
  "internal overlay": host({ networks: [internal], containers: [container("t1", attach(internal, 2))] }),
};

const CROWDED = host({
  networks: [internal],
  containers: [2, 3, 4].map((n) => container(`t${n}`, attach(internal, n))),
});

const written = (ops: readonly NetOp[]): string => {
  const rulesets = ops.flatMap((op) => (op.op === "nft-set" ? [`${op.ns || "host"} ${op.digest}\n${op.ruleset}`] : []));
  return renderPlan(ops) + rulesets.join("");
};

describe("planHost", () => {
  it("gives the recorded plans (UPDATE_GOLDENS=1 records)", () => {
    const got = Object.entries(HOSTS)
      .map(([name, desired]) => `${name}\n----\n${written(planHost(desired, emptyHost()))}\n`)
      .join("")
      .concat(
        `more ports than a bridge has (here 2)\n----\n${written(planHost(CROWDED, emptyHost(), { portsPerBridge: 2 }))}\n`,
      );
    if (process.env.UPDATE_GOLDENS) writeFileSync(GOLDEN, got);
    expect(got).to.equal(readFileSync(GOLDEN, "utf8"));
  });

  it("refuses an overlay when no link has the VTEP address", () => {
    const desired = { ...HOSTS.overlay!, node: { vtep: "192.0.2.77", dataPathPort: 4789 } };
    expect(() => planHost(desired, emptyHost())).to.throw(/192\.0\.2\.77/);
  });

  it("takes 70 bytes for a VTEP of IPv6, and the MTU of the link that carries it", () => {
    const state = emptyHost();
    state.namespaces
      .get("")!
      .links.set("uplink", { ...state.namespaces.get("")!.links.get("uplink")!, mtuBytes: 9000 });
    state.namespaces.get("")!.addresses.set("uplink 2001:db8::1/64", { link: "uplink", address: "2001:db8::1/64" });
    const ops = planHost({ ...HOSTS.overlay!, node: { vtep: "2001:db8::1", dataPathPort: 4789 } }, state);
    const mtus = ops.flatMap((op) => (op.op === "link-add" ? [op.link.mtuBytes] : []));
    expect(mtus).to.deep.equal([8930, 8930, 8930, 8930]);
  });
});
