import { expect } from "chai";
import { TswarmError } from "#base/errors.ts";
import { createState } from "#control-plane/state/state.ts";
import type { State, Tx, WriteContext } from "#control-plane/state/types.ts";
import {
  ClusterSpec,
  type DeepPartial,
  Network,
  NodeDescription,
  NodeRole,
  type PortConfig,
  PortMode,
  PortProtocol,
  type Service,
  ServiceSpec,
} from "#proto/gen/types.ts";
import * as ops from "./index.ts";

let ids = 0;
const ctx: WriteContext = { now: 1_000, newId: () => `id${String(ids++).padStart(4, "0")}` };
const commit = <R>(state: State, write: (tx: Tx) => R): R => {
  const tx = state.begin();
  const result = write(tx);
  const command = { id: ctx.newId(), time: ctx.now, changes: tx.changes() };
  expect(state.apply(state.index + 1, command)).to.deep.equal({ ok: true });
  return result;
};
const spec = (name: string, networks: DeepPartial<ServiceSpec["task"]>, ports: DeepPartial<PortConfig>[], rest = {}) =>
  ServiceSpec.fromPartial({
    annotations: { name },
    replicas: 1,
    task: { container: { image: "localhost/web:1" }, ...networks },
    ports,
    ...rest,
  });
const on = (...targets: string[]) => ({ networks: targets.map((target) => ({ target })) });
const { HOST, INGRESS } = PortMode;

const cluster = (ingress = true): State => {
  const state = createState();
  const pem = Buffer.from("pem");
  commit(state, (tx) => {
    ops.initCluster(tx, ctx, {
      id: "c1",
      spec: ClusterSpec.fromPartial({}),
      caCertificatePem: pem,
      caKeyPem: pem,
      joinTokenWorker: "w",
      joinTokenManager: "m",
    });
    for (const network of [...tx.all("network")]) if (network.spec?.ingress) tx.delete("network", network.id);
    const subnets = (at: number) => [
      { subnet: `10.77.${at}.0/24`, gateway: `10.77.${at}.1`, reserved: { lb: `10.77.${at}.9` } },
    ];
    const annotations = (name: string) => ({ name });
    tx.put(
      "network",
      Network.fromPartial({
        id: "back",
        vni: 5000,
        spec: { annotations: annotations("back"), driver: "overlay" },
        subnets: subnets(1),
      }),
    );
    if (ingress)
      tx.put(
        "network",
        Network.fromPartial({
          id: "in",
          vni: 5001,
          spec: { annotations: annotations("ingress"), driver: "overlay", ingress, ipv4: true },
          subnets: subnets(2),
        }),
      );
    ops.registerNode(tx, ctx, { id: "node1", hostname: "alpha", role: NodeRole.MANAGER, addr: "192.0.2.1" });
    const images = [{ digest: "sha256:1234", names: ["localhost/web:1"] }];
    const hostPorts = [{ protocol: PortProtocol.TCP, port: 53, hostIp: "127.0.0.53", owner: "resolved (pid 9)" }];
    const description = NodeDescription.fromPartial({ hostname: "alpha", images, hostPorts });
    ops.applyNodeSession(tx, ctx, "node1", { description, addr: "192.0.2.1" });
    if (ingress) ops.createService(tx, ctx, { spec: spec("web", on("back"), [{ target: 80, published: 8080 }]) });
  });
  return state;
};
const web = (state: State): Service => state.serviceByName("web")!;
const update = (state: State, change: (spec: ServiceSpec) => ServiceSpec): Service =>
  commit(state, (tx) => {
    const { id, meta, spec: before } = web(state);
    return ops.updateService(tx, ctx, { id, version: meta!.version, spec: change(before!), rollback: false });
  });
const drivers = (state: State, { spec: stored }: Service): string[] =>
  stored!.task!.networks.map((n) => state.get("network", n.target)!.spec!.annotations!.name);

describe("services with published ports", () => {
  it("stores ports with defaults and the numbers that they got", () => {
    const state = cluster();
    const port = { name: "", protocol: PortProtocol.TCP, mode: INGRESS, target: 80, hostIp: "" };
    expect(web(state).ports).to.deep.equal([{ ...port, published: 8080 }]);
    const next = update(state, (before) => ({ ...before, ports: [{ ...port, published: 0, hostIp: "0.0.0.0" }] }));
    expect(next.ports).to.deep.equal([{ ...port, published: 30_000 }]);
    expect(next.spec!.ports).to.deep.equal([{ ...port, published: 0 }]);
    expect(state.serviceByPort(PortProtocol.TCP, 8080)).to.equal(undefined);
  });

  it("puts a service that names no network on the ingress network only, unless only its node publishes for it", () => {
    const state = cluster();
    const create = (name: string, mode: PortMode): string[] =>
      drivers(
        state,
        commit(state, (tx) => ops.createService(tx, ctx, { spec: spec(name, {}, [{ target: 80, mode }]) })),
      );
    expect(create("a", INGRESS)).to.deep.equal([]);
    expect(create("b", HOST)).to.deep.equal(["bridge"]);
  });

  it("replaces tasks when what they are made of changes, not when a number of the mesh does", () => {
    const state = cluster();
    let { specVersion } = web(state);
    const expectNew = (expected: boolean, change: (spec: ServiceSpec) => ServiceSpec): void => {
      const next = update(state, change).specVersion;
      expect(next - specVersion).to.equal(expected ? 1 : 0);
      specVersion = next;
    };
    expectNew(false, (s) => ({
      ...s,
      ports: [
        { ...s.ports[0]!, published: 9090 },
        { ...s.ports[0]!, published: 9091 },
      ],
    }));
    expectNew(true, (s) => ({ ...s, ports: [] }));
    expectNew(true, (s) => ({ ...s, ports: spec("x", {}, [{ target: 80, published: 9090 }]).ports }));
    expectNew(true, (s) => ({
      ...s,
      ports: [...s.ports, ...spec("x", {}, [{ target: 80, published: 9092, mode: HOST }]).ports],
    }));
    expectNew(false, (s) => s);
  });

  it("frees the ports of a service as soon as it is removed", () => {
    const state = cluster();
    const create = (tx: Tx) => ops.createService(tx, ctx, { spec: spec("b", {}, [{ target: 80, published: 8080 }]) });
    expect(() => create(state.begin())).to.throw("service web publishes tcp port 8080 in mode ingress");
    commit(state, (tx) => ops.removeService(tx, ctx, { ref: "web" }));
    commit(state, create);
  });

  it("gives the port of a service that a stack drops to the one that it brings", () => {
    const state = cluster();
    const deploy = (name: string, prune: boolean) =>
      commit(state, (tx) =>
        ops
          .deployStack(tx, ctx, {
            name: "s",
            networks: [],
            services: [spec(name, on("back"), [{ target: 80, published: 9090 }])],
            prune,
          })
          .map((action) => `${action.action} ${action.name}`),
      );
    expect(deploy("s_a", true)).to.deep.equal(["create s_a"]);
    expect(() => deploy("s_b", false)).to.throw("service s_a publishes tcp port 9090 in mode ingress");
    expect(deploy("s_b", true)).to.deep.equal(["create s_b", "remove s_a"]);
  });

  const pinned = (config: object) => ({ networks: [{ target: "back", ...config }] });
  const refused: [string, string, string, ReturnType<typeof spec>][] = [
    [
      "the number of another service",
      "conflict",
      "ports[0].published",
      spec("a", on("back"), [{ target: 1, published: 8080 }]),
    ],
    ["the port of a program", "conflict", "ports[0].published", spec("a", on("back"), [{ target: 1, published: 53 }])],
    ["the mesh on network host", "invalid", "ports[0].mode", spec("a", on("host"), [{ target: 80, published: 80 }])],
    [
      "another number on network host",
      "invalid",
      "ports[0].published",
      spec("a", on("host"), [{ target: 80, published: 81, mode: HOST }]),
    ],
    [
      "any number on network host",
      "invalid",
      "ports[0].published",
      spec("a", on("host"), [{ target: 80, mode: HOST }]),
    ],
    ["a port on network none", "invalid", "ports[0]", spec("a", on("none"), [{ target: 80, mode: HOST }])],
    ["the ingress network by name", "invalid", "task.networks[1]", spec("a", on("back", "ingress"), [])],
    [
      "a pinned address of another subnet",
      "invalid",
      "task.networks[0].ipv4",
      spec("a", pinned({ ipv4: ["10.9.0.1"] }), []),
    ],
    [
      "a pinned address without such a family",
      "invalid",
      "task.networks[0].ipv6",
      spec("a", pinned({ ipv6: ["fd00::9"] }), []),
    ],
    [
      "an address of a family that the mesh lacks",
      "invalid",
      "ports[0].hostIp",
      spec("a", on("bridge"), [{ target: 80, hostIp: "fd00::5" }]),
    ],
    [
      "an address of a family that the bridge lacks",
      "invalid",
      "ports[0].hostIp",
      spec("a", on("bridge"), [{ target: 80, hostIp: "fd00::5", mode: HOST }]),
    ],
    ["IPv6's loopback address", "invalid", "ports[0].hostIp", spec("a", on("back"), [{ target: 80, hostIp: "::1" }])],
    ["the gateway's address", "conflict", "task.networks[0].ipv4", spec("a", pinned({ ipv4: ["10.77.1.1"] }), [])],
    ["a reserved address", "conflict", "task.networks[0].ipv4", spec("a", pinned({ ipv4: ["10.77.1.9"] }), [])],
  ];
  for (const [what, code, field, given] of refused)
    it(`refuses ${what}`, () => {
      const tx = cluster().begin();
      let thrown: unknown;
      try {
        ops.createService(tx, ctx, { spec: given });
      } catch (error) {
        thrown = error;
      }
      expect(thrown).to.be.instanceOf(TswarmError);
      const { code: got, issues } = thrown as TswarmError;
      expect([got, issues[0]?.field]).to.deep.equal([code, field]);
      expect([issues[0]!.reason, issues[0]!.remedy]).not.to.include("");
      expect(tx.changes()).to.deep.equal([]);
    });

  it("accepts what is possible on network host, and pinned addresses", () => {
    const state = cluster();
    const make = (given: ServiceSpec) => commit(state, (tx) => ops.createService(tx, ctx, { spec: given }));
    make(spec("a", on("host"), [{ target: 80, published: 80, mode: HOST, hostIp: "::1" }]));
    make(spec("c", on("back"), [{ target: 80, hostIp: "127.0.0.1" }]));
    make(spec("d", on("bridge"), [{ target: 80, hostIp: "127.0.0.1", mode: HOST }]));
    const { spec: stored } = make(spec("b", pinned({ ipv4: ["10.77.1.20"], mac: "02-42-0A-00-00-05" }), []));
    expect(stored!.task!.networks[0]).to.deep.include({ ipv4: ["10.77.1.20"], mac: "02:42:0a:00:00:05" });
  });

  it("refuses what needs the ingress network where there is none", () => {
    const tx = cluster(false).begin();
    const create = (mode: PortMode, network: string) =>
      ops.createService(tx, ctx, { spec: spec(`${network}${mode}`, on(network), [{ target: 80, mode }]) });
    for (const [mode, network] of [
      [INGRESS, "back"],
      [HOST, "back"],
    ] as const)
      expect(() => create(mode, network)).to.throw("there is no network for published ports");
    create(HOST, "bridge");
  });
});
