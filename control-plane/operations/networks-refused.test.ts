import { expect } from "chai";
import { TswarmError } from "#base/errors.ts";
import type { Tx } from "#control-plane/state/types.ts";
import { EndpointMode, type NetworkSpec, Task, UpdateOrder } from "#proto/gen/types.ts";
import * as ops from "./index.ts";

import { cluster, commit, create, ctx, named, network, pass, service } from "./network-fixture.ts";

describe("refused for networks", () => {
  const state = cluster();
  const options = { parent: "eth0" };
  create(state, network("net2", { options: { vxlanid: "5000" }, ipam: [{ subnet: "10.78.0.0/24" }] }));
  create(state, network("lab", { driver: "bridge", options: { "bridge-name": "br-lab" } }));
  create(state, network("tpl", { configOnly: true, driver: "bridge", options: { icc: "0" } }));
  const db = commit(state, (tx) =>
    ops.createService(tx, ctx, {
      spec: service("db", [{ target: "back", ipv4: ["10.77.0.50"], mac: "02:00:00:00:00:01" }]),
    }),
  );
  commit(state, (tx) =>
    ops.createService(tx, ctx, { spec: service("vip", [{ target: "back" }], { endpointMode: EndpointMode.VIP }) }),
  );
  commit(state, (tx) =>
    tx.put(
      "task",
      Task.fromPartial({
        id: "t1",
        name: "web.1",
        nodeId: "node1",
        spec: { networks: [{ target: named(state, "back").id }] },
      }),
    ),
  );
  pass(state);
  const make = (spec: NetworkSpec) => (tx: Tx) => ops.createNetwork(tx, ctx, { spec });
  const change = (ref: string, more: Partial<NetworkSpec>, version?: number) => (tx: Tx) => {
    const { spec, meta } = named(state, ref);
    return ops.updateNetwork(tx, ctx, { id: ref, version: version ?? meta!.version, spec: { ...spec!, ...more } });
  };
  const add = (subnet: string) => network("", { ipam: [{ subnet }] }).ipam;
  const attach =
    (name: string, config: object, more: object = {}) =>
    (tx: Tx) =>
      ops.createService(tx, ctx, { spec: service(name, [{ target: "back", ...config }], more) });

  const cases: [what: string, code: string, field: string, text: RegExp, write: (tx: Tx) => unknown][] = [
    [
      "an option of another driver",
      "invalid",
      "options.parent",
      /driver overlay has no such option.*Known are/,
      make(network("n", { options })),
    ],
    [
      "encryption",
      "invalid",
      "options.encrypted",
      /not supported by this version/,
      make(network("n", { options: { encrypted: "" } })),
    ],
    [
      "macvlan without a parent",
      "invalid",
      "options.parent",
      /needs the interface.*parent=eth0/,
      make(network("n", { driver: "macvlan" })),
    ],
    [
      "an MTU too small for IPv6",
      "invalid",
      "options.com.docker.network.driver.mtu",
      /IPv6 needs an MTU of 1280/,
      make(network("n", { ipv6: true, options: { mtu: "1000" } })),
    ],
    [
      "the driver none",
      "invalid",
      "driver",
      /exists once.*overlay, macvlan or ipvlan/,
      make(network("n", { driver: "none" })),
    ],
    [
      "options of the IPAM",
      "invalid",
      "ipamOptions.speed",
      /no options/,
      make(network("n", { ipamOptions: { speed: "1" } })),
    ],
    [
      "overlapping subnets of one network",
      "invalid",
      "ipam[1].subnet",
      /10\.90\.0\.0\/25 overlaps 10\.90\.0\.0\/24/,
      make(network("n", { ipam: [{ subnet: "10.90.0.0/24" }, { subnet: "10.90.0.0/25" }] })),
    ],
    [
      "the gateway as a reserved address",
      "invalid",
      "ipam[0].reserved.x",
      /is the gateway/,
      make(network("n", { ipam: [{ subnet: "10.90.0.0/24", gateway: "10.90.0.9", reserved: { x: "10.90.0.9" } }] })),
    ],
    [
      "one reserved address twice",
      "invalid",
      "ipam[0].reserved.y",
      /reserved as x/,
      make(network("n", { ipam: [{ subnet: "10.90.0.0/24", reserved: { x: "10.90.0.9", y: "10.90.0.9" } }] })),
    ],
    [
      "the broadcast address as gateway",
      "invalid",
      "ipam[0].gateway",
      /none that a host can have/,
      make(network("n", { ipam: [{ subnet: "10.90.0.0/24", gateway: "10.90.0.255" }] })),
    ],
    [
      "tswarm's own transit addresses",
      "conflict",
      "ipam[0].subnet",
      /100\.64\.0\.0\/10 of tswarm itself/,
      make(network("n", { ipam: [{ subnet: "100.64.7.0/24" }] })),
    ],
    [
      "a subnet of another network",
      "conflict",
      "ipam[0].subnet",
      /overlaps 10\.77\.0\.0\/24 of network back/,
      make(network("n", { ipam: [{ subnet: "10.77.0.128/25" }] })),
    ],
    [
      "a subnet that a node reaches",
      "conflict",
      "ipam[0].subnet",
      /192\.0\.2\.0\/24 of a route of node alpha/,
      make(network("n", { ipam: [{ subnet: "192.0.2.0/25" }] })),
    ],
    [
      "a routed ipvlan where a node is",
      "conflict",
      "ipam[0].subnet",
      /route of node alpha/,
      make(
        network("n", {
          driver: "ipvlan",
          options: { ...options, ipvlan_mode: "l3" },
          ipam: [{ subnet: "192.0.2.0/24" }],
        }),
      ),
    ],
    [
      "a VNI twice",
      "conflict",
      "options.vxlanid",
      /network net2 has the VNI 5000/,
      make(network("n", { options: { vxlanid: "5000" } })),
    ],
    [
      "a VNI with the same transit addresses",
      "conflict",
      "options.vxlanid",
      /same addresses on the nodes/,
      make(network("n", { options: { vxlanid: String(5000 + (1 << 21)) } })),
    ],
    [
      "a bridge's name twice",
      "conflict",
      "options.bridge-name",
      /bridge of network lab has the name br-lab/,
      make(network("n", { driver: "bridge", options: { "bridge-name": "br-lab" } })),
    ],
    [
      "a second ingress network",
      "conflict",
      "ingress",
      /network ingress is the cluster's/,
      make(network("n", { ingress: true })),
    ],
    [
      "an attachable ingress network",
      "invalid",
      "attachable",
      /Leave out --attachable/,
      make(network("n", { ingress: true, attachable: true })),
    ],
    [
      "an internal ingress network",
      "invalid",
      "internal",
      /Leave out --internal/,
      make(network("n", { ingress: true, internal: true })),
    ],
    [
      "an ingress network that is a bridge",
      "invalid",
      "ingress",
      /it is an overlay/,
      make(network("n", { ingress: true, driver: "bridge" })),
    ],
    [
      "an internal template",
      "invalid",
      "internal",
      /only a template/,
      make(network("n", { configOnly: true, internal: true })),
    ],
    [
      "a template of a template",
      "invalid",
      "configFrom",
      /is a template/,
      make(network("n", { configOnly: true, configFrom: "tpl" })),
    ],
    [
      "a template that is not there",
      "not_found",
      "configFrom",
      /no network "nope"/,
      make(network("n", { configFrom: "nope" })),
    ],
    [
      "a template that is none",
      "invalid",
      "configFrom",
      /no config-only network/,
      make(network("n", { configFrom: "back" })),
    ],
    [
      "subnets beside a template",
      "invalid",
      "ipam",
      /comes from the config-only network tpl/,
      make(network("n", { configFrom: "tpl", ipam: [{ subnet: "10.90.0.0/24" }] })),
    ],
    [
      "options beside a template",
      "invalid",
      "options",
      /comes from/,
      make(network("n", { configFrom: "tpl", options: { mtu: "1400" } })),
    ],
    ["IPv6 beside a template", "invalid", "ipv6", /comes from/, make(network("n", { configFrom: "tpl", ipv6: true }))],
    [
      "another driver than the template's",
      "invalid",
      "driver",
      /for driver bridge/,
      make(network("n", { configFrom: "tpl", driver: "overlay" })),
    ],
    [
      "a service on a template",
      "invalid",
      "task.networks[0]",
      /config-only, a template/,
      attach("a", { target: "tpl" }),
    ],
    ["a change of options", "invalid", "options", /can't be changed/, change("back", { options: { mtu: "1400" } })],
    ["a change of the driver", "invalid", "driver", /can't be changed/, change("back", { driver: "bridge" })],
    [
      "a new name",
      "invalid",
      "annotations.name",
      /renamed/,
      change("back", { annotations: { name: "other", labels: {} } }),
    ],
    [
      "a removed subnet",
      "invalid",
      "ipam[0]",
      /10\.77\.0\.0\/24 can't be changed or removed/,
      change("back", { ipam: [] }),
    ],
    [
      "an added subnet of a family that is not there",
      "invalid",
      "ipam[1].subnet",
      /the network has no IPv6/,
      change("back", { ipam: [...named(state, "back").spec!.ipam, ...add("fd00:9::/64")] }),
    ],
    [
      "an added subnet that is taken",
      "conflict",
      "ipam[1].subnet",
      /network net2/,
      change("back", { ipam: [...named(state, "back").spec!.ipam, ...add("10.78.0.0/16")] }),
    ],
    ["a change from an old version", "stale_version", "version", /Read it again/, change("back", {}, 1)],
    ["a change of a predefined network", "conflict", "network", /same in every cluster/, change("bridge", {})],
    [
      "an unknown filter of prune",
      "invalid",
      "filter name",
      /label, label!, until/,
      (tx) => ops.pruneNetworks(tx, ctx, { filters: [{ key: "name", values: ["a"] }] }),
    ],
    [
      "no time for prune",
      "invalid",
      "filter until",
      /milliseconds/,
      (tx) => ops.pruneNetworks(tx, ctx, { filters: [{ key: "until", values: ["1h"] }] }),
    ],
    [
      "a pinned address of another service",
      "conflict",
      "task.networks[0].ipv4",
      /service db pins 10\.77\.0\.50/,
      attach("a", { ipv4: ["10.77.0.50"] }),
    ],
    [
      "a pinned virtual address",
      "conflict",
      "task.networks[0].ipv4",
      /held by the virtual address of service vip/,
      attach("a", { ipv4: ["10.77.0.2"] }),
    ],
    [
      "a pinned address of a task",
      "conflict",
      "task.networks[0].ipv4",
      /held by task web\.1 on node alpha.*10\.77\.0\.0\/24/,
      attach("a", { ipv4: ["10.77.0.3"] }),
    ],
    ["a pinned gateway", "conflict", "task.networks[0].ipv4", /gateway/, attach("a", { ipv4: ["10.77.0.1"] })],
    [
      "a pinned MAC of another service",
      "conflict",
      "task.networks[0].mac",
      /service db has 02:00:00:00:00:01/,
      attach("a", { mac: "02:00:00:00:00:01" }),
    ],
    [
      "a pinned MAC of a task",
      "conflict",
      "task.networks[0].mac",
      /task web\.1 has/,
      attach("a", { mac: "02:42:0a:4d:00:03" }),
    ],
    [
      "pinned addresses with start-first",
      "invalid",
      "update.order",
      /stop-first/,
      attach("a", { ipv4: ["10.77.0.60"] }, { update: { order: UpdateOrder.START_FIRST } }),
    ],
    [
      "a pin of one's own task's address in another slot",
      "conflict",
      "task.networks[0].ipv4",
      /held by task web\.1/,
      (tx) =>
        ops.updateService(tx, ctx, {
          id: db.id,
          version: state.get("service", db.id)!.meta!.version,
          rollback: false,
          spec: service("db", [{ target: "back", ipv4: ["10.77.0.3"] }]),
        }),
    ],
  ];
  for (const [what, code, field, text, write] of cases)
    it(`is ${what}: field, reason, remedy; nothing is changed`, () => {
      const before = state.index;
      const tx = state.begin();
      let error: unknown;
      try {
        write(tx);
      } catch (thrown) {
        error = thrown;
      }
      expect(error).to.be.instanceOf(TswarmError);
      const refused = error as TswarmError;
      expect(refused.code, refused.message).to.equal(code);
      expect(refused.issues.map((i) => i.field)).to.include(field);
      for (const issue of refused.issues) expect(issue.reason && issue.remedy).not.to.equal("");
      expect(refused.message).to.match(text);
      expect(tx.changes()).to.deep.equal([]);
      expect(state.index).to.equal(before);
    });
});
