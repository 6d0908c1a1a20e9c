import { expect } from "chai";
import fc from "fast-check";
import { KernelModel } from "#net/exec/kernel-model.ts";
import type { HostNetwork, HostNetworks } from "#net/model/host-networks.ts";
import type { HostState } from "#net/model/host-state.ts";
import { containerNs, overlayNs, peerNsOfMark } from "#net/model/ifname.ts";
import { planHost } from "#net/plan/plan-host.ts";
import { render } from "#net/plan/render.ts";
import {
  attach,
  bridgeNetwork,
  container,
  emptyHost,
  host,
  OTHER_VTEP,
  overlayNetwork,
  remote,
  virtualService,
} from "#net/plan/testdata.ts";

// A dump knows nothing of pairs but what the links say: a new model of the same state is what a restarted agent has.
const apply = (state: HostState, desired: HostNetworks, crashAfter = Number.POSITIVE_INFINITY): void => {
  const kernel = new KernelModel(state);
  const ops = planHost(desired, state);
  for (const [i, op] of ops.entries()) {
    if (i >= crashAfter) return;
    kernel.apply(op);
  }
};

/** A container on two overlays, then on the first only, while nobody else here is on the second. */
const disconnected = (): { readonly before: HostState; readonly after: HostNetworks } => {
  const [one, two] = [overlayNetwork(1), overlayNetwork(2)];
  const before = emptyHost();
  apply(before, host({ networks: [one, two], containers: [container("t1", attach(one, 2), attach(two, 2, "eth1"))] }));
  return { before, after: host({ networks: [one], containers: [container("t1", attach(one, 2))] }) };
};

const NETWORKS: readonly HostNetwork[] = [
  overlayNetwork(1),
  overlayNetwork(2, { internal: true }),
  bridgeNetwork(1),
  bridgeNetwork(2, { internal: true, options: { "com.docker.network.bridge.enable_icc": "false" } }),
];

const arbitraryHost: fc.Arbitrary<HostNetworks> = fc
  .record({
    tasks: fc.uniqueArray(fc.integer({ min: 2, max: 9 }), { maxLength: 6 }),
    membership: fc.array(fc.subarray([0, 1, 2, 3]), { minLength: 10, maxLength: 10 }),
    others: fc.subarray([20, 21, 22, 23]),
    vtep: fc.constantFrom(OTHER_VTEP, "192.0.2.3"),
    mtu: fc.constantFrom<Readonly<Record<string, string>>>({}, { "com.docker.network.driver.mtu": "1300" }),
    backends: fc.subarray([2, 3, 20]),
  })
  .map(({ tasks, membership, others, vtep, mtu, backends }) => {
    const services = [virtualService(NETWORKS[0]!, "s", 100, backends)];
    const containers = tasks.map((n) =>
      container(`t${n}`, ...membership[n]!.map((network, i) => attach(NETWORKS[network]!, n, `eth${i}`))),
    );
    const used = NETWORKS.filter((n) => containers.some((c) => c.attachments.some((a) => a.networkId === n.id)));
    return host({
      networks: used.map((n) => ({
        ...n,
        options: { ...n.options, ...mtu },
        services: n.id === "overlay1" ? services : [],
      })),
      containers,
      remotes: used.filter((n) => n.driver === "overlay").flatMap((n) => others.map((other) => remote(n, other, vtep))),
    });
  });

/** Two containers of a network, and one service with these backends on another node. */
const endpoints = (others: readonly number[]): HostNetworks => {
  const app = overlayNetwork(1);
  return host({
    networks: [{ ...app, services: [virtualService(app, "web", 100, others)] }],
    containers: [container("a", attach(app, 2)), container("b", attach(app, 3))],
    remotes: others.map((n) => remote(app, n)),
  });
};

const expectConverged = (state: HostState, desired: HostNetworks): void => {
  expect(planHost(desired, state).map(render)).to.deep.equal([]);
};

describe("planning and applying", () => {
  it("an interface goes before the namespace of its network, whose links the kernel deletes later", () => {
    const { before, after } = disconnected();
    const ops = planHost(after, before);
    const names = [...before.namespaces.get(overlayNs(overlayNetwork(2).vni))!.links.values()]
      .filter((link) => peerNsOfMark(link.alias) === containerNs("t1"))
      .map((link) => link.name);
    expect(names).to.have.length(1);
    const deleted = ops.findIndex((op) => op.op === "link-del" && op.name === names[0]);
    expect(deleted).to.be.within(
      0,
      ops.findIndex((op) => op.op === "netns-del"),
    );
    apply(before, after);
    expect([...before.namespaces.get(containerNs("t1"))!.links.keys()].sort()).to.deep.equal(["eth0", "lo"]);
  });

  it("a new endpoint is known before the rules of all containers lead to it", () => {
    const kernel = new KernelModel(emptyHost());
    for (const op of planHost(endpoints([7]), kernel.state)) kernel.apply(op);
    const names = planHost(endpoints([7, 8]), kernel.state).map(({ op, ns }) => `${ns} ${op}`);
    expect(names).to.deep.equal([
      "o-4097 fdb-set",
      "o-4097 neigh-set",
      "o-4097 neigh-set",
      "c-a nft-choices",
      "c-b nft-choices",
    ]);
  });

  it("entries on a link that is made or changed wait for it", () => {
    const first = planHost(endpoints([7]), emptyHost()).map(({ op }) => op);
    expect(first.indexOf("fdb-set")).to.be.above(first.lastIndexOf("link-up"));
    const kernel = new KernelModel(emptyHost());
    for (const op of planHost(endpoints([7]), kernel.state)) kernel.apply(op);
    kernel.apply({ op: "link-del", ns: "o-4097", name: "vxlan0" });
    const again = planHost(endpoints([7]), kernel.state).map(({ op }) => op);
    expect(again.indexOf("neigh-set")).to.be.above(again.lastIndexOf("link-up"));
  });

  it("arrives at every desired state, from every other", () => {
    fc.assert(
      fc.property(fc.array(arbitraryHost, { minLength: 1, maxLength: 5 }), (walk) => {
        const state = emptyHost();
        for (const desired of walk) {
          apply(state, desired);
          expectConverged(state, desired);
        }
        apply(state, host({}));
        expect([...state.namespaces.keys()]).to.deep.equal([""]);
        expect([...state.namespaces.get("")!.links.keys()]).to.deep.equal(["lo", "uplink"]);
      }),
      { numRuns: 150 },
    );
  });

  it("converges after a crash at any op", () => {
    fc.assert(
      fc.property(arbitraryHost, arbitraryHost, arbitraryHost, fc.nat(120), (before, during, after, crashAfter) => {
        const state = emptyHost();
        apply(state, before);
        apply(state, during, crashAfter);
        apply(state, after);
        expectConverged(state, after);
      }),
      { numRuns: 300 },
    );
  });

  it("repairs what others removed, and leaves alone what others made", () => {
    const network = overlayNetwork(1);
    const desired = host({ networks: [network], containers: [container("t1", attach(network, 2))] });
    const state = emptyHost();
    apply(state, desired);
    const foreign = { ...state.namespaces.get("")!.links.get("uplink")!, name: "docker0", kind: "bridge" };
    state.namespaces.get("")!.links.set("docker0", foreign);
    state.namespaces.get("c-t1")!.links.set("tun0", { ...foreign, name: "tun0", kind: "tun" });
    const kernel = new KernelModel(state);
    kernel.apply({ op: "link-del", ns: "o-4097", name: "br0" });
    kernel.apply({ op: "link-del", ns: "c-t1", name: "eth0" });
    state.namespaces.get("c-t1")!.nftDigest = "damaged";
    apply(state, desired);
    expectConverged(state, desired);
    expect(state.namespaces.get("")!.links.has("docker0")).to.equal(true);
    expect(state.namespaces.get("c-t1")!.links.has("tun0")).to.equal(true);
    expect(state.namespaces.get("o-4097")!.links.get("vxlan0")!.master).to.equal("br0");
  });
});
