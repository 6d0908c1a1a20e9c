import { expect } from "chai";
import { TswarmError } from "#base/errors.ts";
import { createState } from "#control-plane/state/state.ts";
import type { State, Tx } from "#control-plane/state/types.ts";
import {
  ClusterSpec,
  EndpointMode,
  NodeRole,
  PortMode,
  PortProtocol,
  type ServiceSpec,
  Task,
  TaskState,
} from "#proto/gen/types.ts";
import * as ops from "./index.ts";

import { cluster, commit, create, ctx, joins, named, network, pass, service } from "./network-fixture.ts";

const refusal = (state: State, write: (tx: Tx) => unknown): TswarmError => {
  const tx = state.begin();
  try {
    write(tx);
  } catch (error) {
    if (error instanceof TswarmError) return error;
    throw error;
  }
  throw new Error("it was not refused");
};

describe("networks of a new cluster", () => {
  it("are the default bridge and a dual-stack ingress network, beside what the first node reaches", () => {
    const state = cluster();
    expect(named(state, "bridge").subnets.map((s) => s.subnet)).to.deep.equal(["172.17.0.0/16"]);
    const ingress = state.ingressNetwork()!;
    expect(ingress.spec).to.include({ driver: "overlay", ipv4: true, ipv6: true });
    expect(ingress.vni).to.equal(4096);
    expect(ingress.subnets[0]!.subnet).to.equal("10.0.0.0/16");
    expect(ingress.subnets[1]!.subnet).to.match(/^fd[0-9a-f]{2}:[0-9a-f:]+::\/64$/);
    expect(ingress.nodes).to.have.length(1);
    expect(ingress.nodes[0]).to.include({ nodeId: "node1", ipv4: "10.0.0.2" });
    expect(state.addressHolder(ingress.id, "10.0.0.2")).to.equal("node/node1");

    const beside = cluster(["10.0.0.5/16", "172.17.0.1/16", "172.18.0.1/16"]);
    expect(named(beside, "bridge").subnets[0]!.subnet).to.equal("172.16.0.0/16");
    expect(beside.ingressNetwork()!.subnets[0]!.subnet).to.equal("10.1.0.0/16");
    const full = cluster(Array.from({ length: 256 }, (_, i) => `10.${i}.128.0/17`));
    expect(full.ingressNetwork()!.subnets[0]!.subnet).to.equal("10.0.0.0/24");
  });

  it("wait for the first node that is ready", () => {
    const state = createState();
    const pem = Buffer.from("pem");
    const spec = ClusterSpec.fromPartial({ poolsV6: ["fd11::/48"] });
    const keys = { caCertificatePem: pem, caKeyPem: pem, joinTokenWorker: "w", joinTokenManager: "m" };
    commit(state, (tx) => ops.initCluster(tx, ctx, { id: "c1", spec, ...keys }));
    commit(state, (tx) => ops.registerNode(tx, ctx, { id: "n", hostname: "a", role: NodeRole.MANAGER, addr: "" }));
    commit(state, (tx) =>
      tx.put("task", Task.fromPartial({ id: "t", spec: { networks: [{ target: named(state, "bridge").id }] } })),
    );
    pass(state);
    expect(named(state, "bridge").subnets).to.deep.equal([]);
    expect(state.get("task", "t")!.status!.error).to.contain("network bridge has no subnet yet");
    joins(state, "n", "a");
    pass(state);
    expect(named(state, "ingress").subnets[1]!.subnet).to.equal("fd11::/64");
    expect(state.get("task", "t")!.attachments[0]!.ipv4).to.equal("172.17.0.2/16");
  });

  it("each have their own IPv6 prefix", () => {
    const of = (id: string) => {
      const state = createState();
      const pem = Buffer.from("pem");
      const keys = { caCertificatePem: pem, caKeyPem: pem, joinTokenWorker: "w", joinTokenManager: "m" };
      return commit(state, (tx) => ops.initCluster(tx, ctx, { id, spec: ClusterSpec.fromPartial({}), ...keys })).spec!;
    };
    expect(of("c1").poolsV6[0]).to.match(/^fd[0-9a-f:]+::\/48$/);
    expect(of("c1").poolsV6).to.deep.equal(of("c1").poolsV6);
    expect(of("c2").poolsV6).not.to.deep.equal(of("c1").poolsV6);
    expect(of("c1").poolsV4).to.deep.equal(["10.0.0.0/8"]);
  });

  it("give each node that joins an address of each family, and take it back when it is removed", () => {
    const state = cluster();
    joins(state, "node2", "beta");
    pass(state);
    const { id, nodes } = state.ingressNetwork()!;
    expect(nodes.map((n) => n.nodeId)).to.deep.equal(["node1", "node2"]);
    expect(new Set(nodes.flatMap((n) => [n.ipv4, n.ipv6])).size).to.equal(4);
    commit(state, (tx) => ops.removeNode(tx, ctx, { ref: "node2", force: true, members: [] }));
    pass(state);
    expect(state.ingressNetwork()!.nodes).to.have.length(1);
    expect(state.addressHolder(id, nodes[1]!.ipv4)).to.match(/^lease\//);
  });
});

describe("networks", () => {
  it("have several subnets of each family, and pools for what is not asked for", () => {
    const state = cluster();
    const ipam = [{ subnet: "10.80.0.0/24", reserved: { a: "10.80.0.1" } }, { subnet: "10.81.0.0/24" }];
    const made = create(
      state,
      network("n", { ipv4: true, ipv6: true, ipam, options: { mtu: "1400", vxlanid: "9000" } }),
    );
    expect(made.subnets.map((s) => s.gateway)).to.deep.equal([
      "10.80.0.2",
      "10.81.0.1",
      made.subnets[2]!.subnet.replace("/64", "1"),
    ]);
    expect(made.vni).to.equal(9000);
    expect(made.spec!.options).to.deep.equal({
      "com.docker.network.driver.mtu": "1400",
      "com.docker.network.driver.overlay.vxlanid_list": "9000",
    });
    expect(create(state, network("next")).vni).to.equal(9001);
  });

  it("on a parent interface may be where the nodes are; ipvlan l3 keeps no gateway", () => {
    const state = cluster();
    const options = { parent: "eth0" };
    const lan = create(state, network("lan", { driver: "macvlan", options, ipam: [{ subnet: "192.0.2.0/24" }] }));
    expect(lan).to.include({ vni: 0 });
    expect(lan.subnets[0]!.gateway).to.equal("192.0.2.1");
    const l3 = { driver: "ipvlan", options: { ...options, ipvlan_mode: "l3" } };
    expect(create(state, network("l3", { ...l3, ipam: [{ subnet: "10.90.0.0/24" }] })).subnets[0]!.gateway).to.equal(
      "",
    );
  });

  it("are made from templates, which can't be removed before them", () => {
    const state = cluster();
    const ipam = [{ subnet: "10.82.0.0/24", range: "10.82.0.128/25" }];
    const template = network("t", { configOnly: true, options: { mtu: "1300" }, ipam, ipv4: true });
    template.annotations!.labels = { from: "t", both: "t" };
    expect(create(state, template)).to.deep.include({ vni: 0, subnets: [] });
    const spec = network("n", { configFrom: "t", internal: true });
    spec.annotations!.labels = { both: "n" };
    const made = create(state, spec);
    expect(made.spec).to.deep.include({ driver: "overlay", internal: true, configOnly: false, configFrom: "t" });
    expect(made.spec!.options).to.deep.equal({ "com.docker.network.driver.mtu": "1300" });
    expect(made.spec!.annotations!.labels).to.deep.equal({ from: "t", both: "n" });
    expect(made.subnets[0]).to.include({ subnet: "10.82.0.0/24", range: "10.82.0.128/25", gateway: "10.82.0.1" });
    expect(refusal(state, (tx) => ops.removeNetwork(tx, ctx, { ref: "t" })).message).to.contain("in use by network n");
    commit(state, (tx) => ops.removeNetwork(tx, ctx, { ref: "n" }));
    commit(state, (tx) => ops.removeNetwork(tx, ctx, { ref: "t" }));
  });

  it("get subnets and labels while they live, and waiting tasks an address", () => {
    const state = cluster();
    const { id } = create(state, network("n", { ipam: [{ subnet: "10.83.0.0/29" }] }));
    const task = (n: number) => Task.fromPartial({ id: `t${n}`, spec: { networks: [{ target: id }] } });
    commit(state, (tx) => [1, 2, 3, 4, 5, 6].map((n) => tx.put("task", task(n))));
    pass(state);
    const waiting = () => [...state.all("task")].filter((t) => t.attachments.length === 0);
    expect(waiting()).to.have.length(1);
    expect(waiting()[0]!.status!.error).to.equal(
      "network n: no IPv4 address is free in 10.83.0.0/29: 6 of 6 are used. " +
        "Add a subnet (tsctl network update --subnet-add SUBNET n), or scale services down.",
    );
    const { spec, meta } = named(state, "n");
    const labels = { a: "b" };
    const grown = {
      ...spec!,
      annotations: { name: "n", labels },
      ipam: [...spec!.ipam, ...network("", { ipam: [{ subnet: "10.84.0.0/24" }] }).ipam],
    };
    commit(state, (tx) => ops.updateNetwork(tx, ctx, { id: "n", version: meta!.version, spec: grown }));
    pass(state);
    expect(waiting()).to.deep.equal([]);
    expect(named(state, "n").spec!.annotations!.labels).to.deep.equal(labels);
    expect([...state.all("task")].map((t) => t.attachments[0]!.ipv4)).to.include("10.84.0.2/24");
    const { usage } = ops.viewNetwork(state, named(state, "n"));
    expect(usage).to.deep.equal([
      { subnet: "10.83.0.0/29", used: 6, size: 6, resting: 0 },
      { subnet: "10.84.0.0/24", used: 2, size: 254, resting: 0 },
    ]);
    commit(state, (tx) =>
      tx.put("task", {
        ...tx.get("task", "t1")!,
        status: { ...tx.get("task", "t1")!.status!, state: TaskState.TASK_FAILED },
      }),
    );
    expect(ops.viewNetwork(state, named(state, "n")).usage[0]).to.include({ used: 5, resting: 1 });
  });

  it("of a stack grow with its file, and keep what was added beside it", () => {
    const state = cluster();
    const deploy = (...subnets: string[]) =>
      commit(state, (tx) =>
        ops.deployStack(tx, ctx, {
          name: "shop",
          networks: [
            network("shop_n", { ipv4: true, options: { mtu: "1400" }, ipam: subnets.map((subnet) => ({ subnet })) }),
          ],
          services: [],
          prune: false,
        }),
      ).map((a) => a.action);
    expect(deploy("10.85.0.0/24")).to.deep.equal(["create"]);
    expect(deploy("10.85.0.0/24")).to.deep.equal(["unchanged"]);
    expect(deploy("10.85.0.0/24", "10.86.0.0/24")).to.deep.equal(["update"]);
    expect(deploy("10.85.0.0/24")).to.deep.equal(["unchanged"]);
    expect(named(state, "shop_n").subnets.map((s) => s.subnet)).to.deep.equal(["10.85.0.0/24", "10.86.0.0/24"]);
    expect(() => deploy("10.87.0.0/24")).to.throw(TswarmError, "the subnet 10.85.0.0/24 can't be changed");
  });

  it("that nobody uses are pruned, by label and age; what is used, predefined, ingress or a template stays", () => {
    const state = cluster();
    const labelled = (name: string, labels: Record<string, string>) =>
      create(state, { ...network(name), annotations: { name, labels } });
    create(state, network("used", {}));
    commit(state, (tx) => ops.createService(tx, ctx, { spec: service("web", [{ target: "used" }]) }));
    create(state, network("template", { configOnly: true }));
    labelled("a", { env: "test" });
    labelled("b", { env: "prod" });
    const prune = (filters: Record<string, string> = {}) =>
      commit(state, (tx) =>
        ops.pruneNetworks(tx, ctx, {
          filters: Object.entries(filters).map(([key, value]) => ({ key, values: [value] })),
        }),
      ).map((n) => n.spec!.annotations!.name);
    expect(prune({ label: "env=none" })).to.deep.equal([]);
    expect(prune({ until: "999" })).to.deep.equal([]);
    expect(prune({ label: "env", "label!": "env=prod" })).to.deep.equal(["a"]);
    expect(prune({ until: "1000" })).to.deep.equal(["back", "b"]);
    expect([...state.all("network")].map((n) => n.spec!.annotations!.name).sort()).to.deep.equal([
      "bridge",
      "host",
      "ingress",
      "none",
      "template",
      "used",
    ]);
  });

  it("are listed by use", () => {
    const state = cluster();
    const names = (value: string) =>
      ops.selectNetworks(state, [{ key: "dangling", values: [value] }]).map((n) => n.spec!.annotations!.name);
    expect(names("true")).to.deep.equal(["back"]);
    expect(names("false")).to.include("ingress").and.not.include("back");
  });

  it("are the ingress network only once, which goes when nothing is published", () => {
    const state = cluster();
    const ports = [{ protocol: PortProtocol.TCP, target: 80, published: 8080, mode: PortMode.INGRESS }];
    const web = commit(state, (tx) =>
      ops.createService(tx, ctx, {
        spec: service("web", [{ target: "back" }], { ports, endpointMode: EndpointMode.VIP }),
      }),
    );
    const second = network("mesh", { ingress: true, ipam: [{ subnet: "10.99.0.0/24" }] });
    expect(refusal(state, (tx) => ops.createNetwork(tx, ctx, { spec: second })).message).to.match(
      /ingress: network ingress is.*network rm ingress/,
    );
    expect(refusal(state, (tx) => ops.removeNetwork(tx, ctx, { ref: "ingress" })).message).to.contain(
      "service web, which publishes ports",
    );
    commit(state, (tx) => ops.removeService(tx, ctx, { ref: web.id }));
    commit(state, (tx) => ops.removeNetwork(tx, ctx, { ref: "ingress" }));
    create(state, second);
    pass(state);
    expect(state.ingressNetwork()!.nodes).to.deep.equal([{ nodeId: "node1", ipv4: "10.99.0.2", ipv6: "" }]);
  });
});

describe("pinned addresses", () => {
  const pinned = (state: State, ...ipv4: string[]) => ({
    target: named(state, "back").id,
    ipv4,
    ipv6: [],
    aliases: [],
  });
  const deploy = (state: State, name: string, config: object, more: object = {}) =>
    commit(state, (tx) => ops.createService(tx, ctx, { spec: service(name, [config], more) }));
  const slot = (id: string, of: { id: string; spec?: ServiceSpec | undefined }, number: number): Task =>
    Task.fromPartial({
      id,
      serviceId: of.id,
      slot: number,
      name: `${of.spec!.annotations!.name}.${number}`,
      spec: of.spec!.task!,
    });

  it("are each slot's, also while it has no task; nobody else gets them", () => {
    const state = cluster();
    const db = deploy(state, "db", pinned(state, "10.77.0.2", "10.77.0.4"), { replicas: 2 });
    const web = deploy(state, "web", { target: "back" }, { endpointMode: EndpointMode.VIP });
    expect(state.get("service", web.id)!.vips[0]!.ipv4).to.equal("10.77.0.3");
    commit(state, (tx) => {
      for (const n of [1, 2, 3]) tx.put("task", slot(`w${n}`, web, n));
      tx.put("task", slot("d2", db, 2));
    });
    pass(state);
    const of = (id: string) => state.get("task", id)!.attachments[0]?.ipv4;
    expect(["w1", "w2", "w3", "d2"].map(of)).to.deep.equal([
      "10.77.0.5/24",
      "10.77.0.6/24",
      "10.77.0.7/24",
      "10.77.0.4/24",
    ]);
    const { used } = ops.viewNetwork(state, named(state, "back")).usage[0]!;
    expect(used, "gateway, 2 pins, VIP, 3 tasks").to.equal(7);
  });

  it("go from a slot's task to its successor at once, to nobody before", () => {
    const state = cluster();
    const db = deploy(state, "db", pinned(state, "10.77.0.9"));
    commit(state, (tx) => tx.put("task", slot("d1", db, 1)));
    pass(state);
    commit(state, (tx) => tx.put("task", slot("d2", db, 1)));
    pass(state);
    expect(state.get("task", "d2")!.status!.error).to.equal(
      "network back: the pinned address 10.77.0.9 is held by task db.1. It is given over when that one has ended.",
    );
    const end = (id: string) =>
      commit(state, (tx) => {
        const task = tx.get("task", id)!;
        tx.put("task", { ...task, status: { ...task.status!, state: TaskState.TASK_SHUTDOWN } });
      });
    end("d1");
    pass(state);
    expect(state.get("task", "d2")!.attachments[0]).to.include({ ipv4: "10.77.0.9/24", mac: "02:42:0a:4d:00:09" });
    expect(state.addressHolder(named(state, "back").id, "10.77.0.9")).to.equal("task/d2");
  });

  it("that rest after a stranger wait for the end of the rest", () => {
    const state = cluster();
    const other = deploy(state, "other", { target: "back" });
    commit(state, (tx) => tx.put("task", slot("o1", other, 1)));
    pass(state);
    commit(state, (tx) => tx.delete("task", "o1"));
    const db = deploy(state, "db", pinned(state, "10.77.0.2"));
    commit(state, (tx) => tx.put("task", slot("d1", db, 1)));
    pass(state);
    expect(state.get("task", "d1")!.status!.error).to.contain("10.77.0.2 rests for a few seconds");
  });

  it("say so when their holder is on a node that is down", () => {
    const state = cluster();
    const db = deploy(state, "db", pinned(state, "10.77.0.9"));
    commit(state, (tx) => tx.put("task", { ...slot("d1", db, 1), nodeId: "node1" }));
    pass(state);
    commit(state, (tx) => {
      ops.setNodeState(tx, ctx, "node1", 1, "no heartbeat");
      tx.put("task", slot("d2", db, 1));
    });
    pass(state);
    expect(state.get("task", "d2")!.status!.error).to.contain(
      "held by task db.1 on node alpha. That node is down: bring it back, or remove it (tsctl node rm --force alpha).",
    );
  });

  it("come with MAC, interface name, gateway priority and settings", () => {
    const state = cluster();
    const more = {
      mac: "02:00:00:00:00:07",
      interfaceName: "lan0",
      gatewayPriority: 5,
      sysctls: { "net.ipv4.conf.IFNAME.log_martians": "1" },
    };
    const db = deploy(state, "db", { ...pinned(state, "10.77.0.9"), ...more });
    commit(state, (tx) => tx.put("task", slot("d1", db, 1)));
    pass(state);
    expect(state.get("task", "d1")!.attachments[0]).to.deep.include({ ...more, ipv4: "10.77.0.9/24" });
  });
});
