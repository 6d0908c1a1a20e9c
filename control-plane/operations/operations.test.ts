import { expect } from "chai";
import { TswarmError } from "#base/errors.ts";
import { allocate } from "#control-plane/allocator/allocate.ts";
import { orchestrate } from "#control-plane/orchestrator/orchestrate.ts";
import { createState } from "#control-plane/state/state.ts";
import type { State, Tx, WriteContext } from "#control-plane/state/types.ts";
import {
  ClusterSpec,
  NetworkSpec,
  NodeDescription,
  NodeRole,
  NodeSpec,
  NodeState,
  type Service,
  ServiceSpec,
  Task,
  TaskState,
} from "#proto/gen/types.ts";
import * as ops from "./index.ts";

let ids = 0;
const ctx: WriteContext = { now: 1_000, newId: () => `id${String(ids++).padStart(4, "0")}` };
const commit = <R>(state: State, write: (tx: Tx) => R): R => {
  const tx = state.begin();
  const result = write(tx);
  expect(state.apply(state.index + 1, { id: ctx.newId(), time: ctx.now, changes: tx.changes() })).to.deep.equal({
    ok: true,
  });
  return result;
};

type Partial<M extends { fromPartial(x: never): unknown }> = Parameters<M["fromPartial"]>[0];
const service = (name: string, more: Partial<typeof ServiceSpec> = {}): ServiceSpec =>
  ServiceSpec.fromPartial({
    annotations: { name },
    replicas: 2,
    task: { container: { image: "localhost/web:1" }, networks: [{ target: "back" }] },
    ...more,
  });
const network = (name: string, more: Partial<typeof NetworkSpec> = {}): NetworkSpec =>
  NetworkSpec.fromPartial({ annotations: { name }, driver: "overlay", ...more });
const subnet = (text: string, more: object = {}): Partial<typeof NetworkSpec> => ({
  ipam: [{ subnet: text, ...more }],
});
const container = (more: object): Partial<typeof ServiceSpec> => ({
  task: { container: { image: "localhost/web:1", ...more } },
});

const cluster = (): State => {
  const state = createState();
  const pem = Buffer.from("pem");
  commit(state, (tx) => {
    ops.initCluster(tx, ctx, {
      id: "c1",
      spec: ClusterSpec.fromPartial({}),
      caCertificatePem: pem,
      caKeyPem: pem,
      joinTokenWorker: "T-1-aa-old",
      joinTokenManager: "T-1-aa-older",
    });
    ops.registerNode(tx, ctx, { id: "node1", hostname: "alpha", role: NodeRole.MANAGER, addr: "192.0.2.1" });
    ops.registerNode(tx, ctx, { id: "node2", hostname: "beta", role: NodeRole.WORKER, addr: "192.0.2.2" });
    const images = [{ digest: "sha256:1234", names: ["localhost/web:1"] }];
    ops.applyNodeSession(tx, ctx, "node1", {
      description: NodeDescription.fromPartial({ hostname: "alpha", images, routes: ["172.16.0.0/12", "0.0.0.0/0"] }),
      addr: "192.0.2.1",
    });
    ops.createNetwork(tx, ctx, { spec: network("back", subnet("10.77.0.0/24")) });
    ops.createNetwork(tx, ctx, { spec: network("tiny", subnet("10.78.0.0/29", { range: "10.78.0.0/31" })) });
    ops.createService(tx, ctx, { spec: service("web") });
  });
  return state;
};
const version = (state: State, table: "service" | "node", id: string): number =>
  state.get(table, id)?.meta?.version ?? 0;
const web = (state: State): Service => state.serviceByName("web")!;

// what, code, field, write
const refused: [string, string, string, (tx: Tx, state: State) => unknown][] = [
  [
    "a second cluster",
    "conflict",
    "cluster",
    (tx) => ops.initCluster(tx, ctx, tx.cluster()! as Parameters<typeof ops.initCluster>[2]),
  ],
  [
    "a network without a name",
    "invalid",
    "annotations.name",
    (tx) => ops.createNetwork(tx, ctx, { spec: network("") }),
  ],
  [
    "a network's name twice",
    "name_conflict",
    "annotations.name",
    (tx) => ops.createNetwork(tx, ctx, { spec: network("back") }),
  ],
  [
    "an unknown driver",
    "invalid",
    "driver",
    (tx) => ops.createNetwork(tx, ctx, { spec: network("n", { driver: "magic" }) }),
  ],
  [
    "a second host network",
    "invalid",
    "driver",
    (tx) => ops.createNetwork(tx, ctx, { spec: network("n", { driver: "host" }) }),
  ],
  [
    "an unknown option",
    "invalid",
    "options.nonsense",
    (tx) => ops.createNetwork(tx, ctx, { spec: network("n", { options: { nonsense: "1" } }) }),
  ],
  [
    "an impossible MTU",
    "invalid",
    "options.mtu",
    (tx) => ops.createNetwork(tx, ctx, { spec: network("n", { options: { mtu: "99" } }) }),
  ],
  ...(
    [
      ["no subnet", "banana", {}, "subnet"],
      ["host bits", "10.90.0.1/24", {}, "subnet"],
      ["too small", "10.90.0.0/30", {}, "subnet"],
      ["multicast", "224.1.0.0/16", {}, "subnet"],
      ["loopback", "127.1.0.0/16", {}, "subnet"],
      ["IPv6 without ipv6", "fd00:9::/64", {}, "subnet"],
      ["gateway outside", "10.90.0.0/24", { gateway: "10.91.0.1" }, "gateway"],
      ["gateway no address", "10.90.0.0/24", { gateway: "x" }, "gateway"],
      ["range outside", "10.90.0.0/24", { range: "10.91.0.0/25" }, "range"],
      ["reserved outside", "10.90.0.0/24", { reserved: { printer: "10.91.0.1" } }, "reserved.printer"],
    ] as const
  ).map(([what, text, more, field]): [string, string, string, (tx: Tx) => unknown] => [
    `subnet: ${what}`,
    "invalid",
    `ipam[0].${field}`,
    (tx) => ops.createNetwork(tx, ctx, { spec: network("n", subnet(text, more)) }),
  ]),
  [
    "overlap with a network",
    "conflict",
    "ipam[0].subnet",
    (tx) => ops.createNetwork(tx, ctx, { spec: network("n", subnet("10.77.0.0/16")) }),
  ],
  [
    "overlap with a node's route",
    "conflict",
    "ipam[0].subnet",
    (tx) => ops.createNetwork(tx, ctx, { spec: network("n", subnet("172.20.0.0/24")) }),
  ],
  ["removal of a used network", "conflict", "network", (tx) => ops.removeNetwork(tx, ctx, { ref: "back" })],
  ["removal of a predefined network", "conflict", "network", (tx) => ops.removeNetwork(tx, ctx, { ref: "host" })],
  ["removal of an unknown network", "not_found", "network", (tx) => ops.removeNetwork(tx, ctx, { ref: "nope" })],
  [
    "a service's name twice",
    "name_conflict",
    "annotations.name",
    (tx) => ops.createService(tx, ctx, { spec: service("web") }),
  ],
  [
    "a service's name that is no DNS name",
    "invalid",
    "annotations.name",
    (tx) => ops.createService(tx, ctx, { spec: service("a.b") }),
  ],
  ["a long name", "invalid", "annotations.name", (tx) => ops.createService(tx, ctx, { spec: service("a".repeat(64)) })],
  [
    "an unknown network",
    "not_found",
    "network",
    (tx) =>
      ops.createService(tx, ctx, {
        spec: service("a", { task: { container: { image: "localhost/web:1" }, networks: [{ target: "nope" }] } }),
      }),
  ],
  [
    "an unknown image",
    "not_found",
    "task.container.image",
    (tx) => ops.createService(tx, ctx, { spec: service("a", container({ image: "nope:1" })) }),
  ],
  [
    "a bad image",
    "invalid",
    "task.container.image",
    (tx) => ops.createService(tx, ctx, { spec: service("a", container({ image: "Not An Image" })) }),
  ],
  [
    "a bad variable",
    "invalid",
    "task.container.env",
    (tx) => ops.createService(tx, ctx, { spec: service("a", container({ env: { "a b": "" } })) }),
  ],
  [
    "an unknown capability",
    "invalid",
    "task.container.capAdd",
    (tx) => ops.createService(tx, ctx, { spec: service("a", container({ capAdd: ["CAP_FLY"] })) }),
  ],
  [
    "an unknown mount",
    "invalid",
    "task.container.mounts[0].type",
    (tx) =>
      ops.createService(tx, ctx, { spec: service("a", container({ mounts: [{ type: "volume", target: "/x" }] })) }),
  ],
  [
    "a relative mount",
    "invalid",
    "task.container.mounts[0].target",
    (tx) => ops.createService(tx, ctx, { spec: service("a", container({ mounts: [{ type: "tmpfs", target: "x" }] })) }),
  ],
  [
    "a bad constraint",
    "invalid",
    "task.placement.constraints[0]",
    (tx) =>
      ops.createService(tx, ctx, {
        spec: service("a", {
          task: { container: { image: "localhost/web:1" }, placement: { constraints: ["rack=1"] } },
        }),
      }),
  ],
  [
    "a reservation over its limit",
    "invalid",
    "task.reservations.nanoCpus",
    (tx) =>
      ops.createService(tx, ctx, {
        spec: service("a", {
          task: { container: { image: "localhost/web:1" }, limits: { nanoCpus: 1 }, reservations: { nanoCpus: 2 } },
        }),
      }),
  ],
  [
    "too many replicas",
    "invalid",
    "replicas",
    (tx) => ops.createService(tx, ctx, { spec: service("a", { replicas: 1e6 }) }),
  ],
  [
    "a rollback of a rollback",
    "invalid",
    "rollback.failureAction",
    (tx) => ops.createService(tx, ctx, { spec: service("a", { rollback: { failureAction: 3 } }) }),
  ],
  [
    "a VIP on a full subnet",
    "exhausted",
    "networks",
    (tx) =>
      ops.createService(tx, ctx, {
        spec: service("a", { task: { container: { image: "localhost/web:1" }, networks: [{ target: "tiny" }] } }),
      }),
  ],
  [
    "an old version of a service",
    "stale_version",
    "version",
    (tx, s) => ops.updateService(tx, ctx, { id: web(s).id, version: 999, spec: web(s).spec, rollback: false }),
  ],
  [
    "a renamed service",
    "invalid",
    "annotations.name",
    (tx, s) =>
      ops.updateService(tx, ctx, {
        id: web(s).id,
        version: version(s, "service", web(s).id),
        spec: service("other"),
        rollback: false,
      }),
  ],
  [
    "a rollback of a new service",
    "conflict",
    "rollback",
    (tx, s) =>
      ops.updateService(tx, ctx, {
        id: web(s).id,
        version: version(s, "service", web(s).id),
        spec: undefined,
        rollback: true,
      }),
  ],
  ["an ambiguous reference", "invalid", "node", (tx) => ops.resolveNode(tx, "node")],
  ["an unknown filter", "invalid", "filter color", (tx) => ops.selectTasks(tx, [{ key: "color", values: ["red"] }])],
  [
    "demotion of the last manager",
    "conflict",
    "role",
    (tx, s) =>
      ops.updateNode(tx, ctx, {
        id: "node1",
        version: version(s, "node", "node1"),
        spec: NodeSpec.fromPartial({ role: NodeRole.WORKER, availability: 1 }),
      }),
  ],
  [
    "a node without a role",
    "invalid",
    "role",
    (tx, s) =>
      ops.updateNode(tx, ctx, {
        id: "node2",
        version: version(s, "node", "node2"),
        spec: NodeSpec.fromPartial({ availability: 1 }),
      }),
  ],
  [
    "removal of a manager",
    "conflict",
    "node",
    (tx) => ops.removeNode(tx, ctx, { ref: "alpha", force: true, members: [] }),
  ],
  [
    "removal of a node that is not down",
    "conflict",
    "node",
    (tx) => ops.removeNode(tx, ctx, { ref: "beta", force: false, members: [] }),
  ],
  [
    "removal of a demoted node that the quorum has not let go",
    "conflict",
    "node",
    (tx) => ops.removeNode(tx, ctx, { ref: "beta", force: true, members: ["node1", "node2"] }),
  ],
  [
    "a stack's bad name",
    "invalid",
    "name",
    (tx) => ops.deployStack(tx, ctx, { name: "A b", networks: [], services: [], prune: false }),
  ],
  [
    "a stack that takes a foreign service",
    "name_conflict",
    "service",
    (tx) => ops.deployStack(tx, ctx, { name: "s", networks: [], services: [service("web")], prune: false }),
  ],
  ["removal of an unknown stack", "not_found", "stack", (tx) => ops.removeStack(tx, ctx, { name: "nope" })],
];

describe("operations", () => {
  for (const [what, code, field, write] of refused)
    it(`refuses ${what}`, () => {
      const state = cluster();
      const tx = state.begin();
      let thrown: unknown;
      try {
        write(tx, state);
      } catch (error) {
        thrown = error;
      }
      expect(thrown).to.be.instanceOf(TswarmError);
      const { code: got, issues } = thrown as TswarmError;
      expect([got, issues[0]?.field]).to.deep.equal([code, field]);
      for (const issue of issues) expect([issue.reason, issue.remedy]).not.to.include("");
      expect(tx.changes()).to.deep.equal([]);
    });

  it("tells everything that is wrong with a service at once", () => {
    const bad = service("-", { replicas: 1e6, task: { container: { image: "" } } });
    try {
      ops.createService(cluster().begin(), ctx, { spec: bad });
      expect.fail("accepted");
    } catch (error) {
      expect((error as TswarmError).issues?.map((i) => i.field)).to.deep.equal([
        "annotations.name",
        "replicas",
        "task.container.image",
      ]);
    }
  });

  it("stores a service with defaults, pinned image, network id and VIP", () => {
    const state = cluster();
    const { spec, vips } = web(state);
    const back = state.networkByName("back")!;
    expect(spec!.task!.container).to.include({ imageDigest: "sha256:1234", stopGraceMs: 10_000 });
    expect(spec!.task!.networks[0]!.target).to.equal(back.id);
    expect(vips).to.deep.equal([{ networkId: back.id, ipv4: "10.77.0.2", ipv6: "" }]);
    expect(spec!.update).to.include({ parallelism: 1, monitorMs: 5000 });
    expect(back.vni).to.equal(4097);
  });

  it("puts a service that names no network on the default bridge", () => {
    const state = cluster();
    const { spec } = commit(state, (tx) => ops.createService(tx, ctx, { spec: service("alone", container({})) }));
    expect(spec!.task!.networks.map((n) => state.get("network", n.target)!.spec!.annotations!.name)).to.deep.equal([
      "bridge",
    ]);
  });

  it("refuses a rollback to a network that was removed", () => {
    const state = cluster();
    const task = { container: { image: "localhost/web:1" }, networks: [{ target: "gone" }] };
    commit(state, (tx) => tx.put("service", { ...web(state), previousSpec: service("web", { task }) }));
    const input = { id: web(state).id, version: web(state).meta!.version, spec: undefined, rollback: true };
    expect(() => ops.updateService(state.begin(), ctx, input)).to.throw("a network of the former spec was removed");
  });

  it("counts changes of the task's spec, keeps the VIP, and goes back", () => {
    const state = cluster();
    const before = web(state);
    const update = (spec: ServiceSpec | undefined, rollback = false): Service =>
      commit(state, (tx) =>
        ops.updateService(tx, ctx, { id: "web", version: version(state, "service", before.id), spec, rollback }),
      );
    expect(update({ ...before.spec!, replicas: 7 }).specVersion).to.equal(before.specVersion);
    const task = { ...before.spec!.task!, forceUpdate: 1 };
    const changed = update({ ...before.spec!, task });
    expect([changed.specVersion, changed.vips]).to.deep.equal([before.specVersion + 1, before.vips]);
    const back = update(undefined, true);
    expect([back.spec!.replicas, back.spec!.task!.forceUpdate, back.specVersion]).to.deep.equal([
      7,
      0,
      before.specVersion + 2,
    ]);
  });

  it("deploys a stack in one transaction, again without a change, and prunes", () => {
    const state = cluster();
    const spec = (name: string): ServiceSpec =>
      service(name, { task: { container: { image: "localhost/web:1" }, networks: [{ target: "s_net" }] } });
    const deploy = (names: string[]): string[] =>
      commit(state, (tx) =>
        ops
          .deployStack(tx, ctx, { name: "s", networks: [network("s_net")], services: names.map(spec), prune: true })
          .map((a) => `${a.action} ${a.name}`),
      );
    expect(deploy(["s_a", "s_b"])).to.deep.equal(["create s_net", "create s_a", "create s_b"]);
    const at = state.index;
    expect(deploy(["s_a", "s_b"])).to.deep.equal(["unchanged s_net", "unchanged s_a", "unchanged s_b"]);
    expect(state.serviceByName("s_a")!.meta!.version).to.equal(at);
    expect(deploy(["s_a"])).to.deep.equal(["unchanged s_net", "unchanged s_a", "remove s_b"]);
    expect(state.serviceByName("s_b")!.pendingDelete).to.equal(true);
  });

  it("lets states of tasks only grow, and takes a node's word for its own tasks only", () => {
    const state = cluster();
    commit(state, (tx) =>
      tx.put("task", Task.fromPartial({ id: "t1", nodeId: "node2", status: { state: TaskState.TASK_RUNNING } })),
    );
    const say = (node: string, s: TaskState): TaskState => {
      commit(state, (tx) =>
        ops.applyTaskStatuses(tx, ctx, node, [
          { taskId: "t1", status: Task.fromPartial({ status: { state: s } }).status },
        ]),
      );
      return state.get("task", "t1")!.status!.state;
    };
    expect(say("node2", TaskState.TASK_STARTING)).to.equal(TaskState.TASK_RUNNING);
    expect(say("node1", TaskState.TASK_FAILED)).to.equal(TaskState.TASK_RUNNING);
    expect(say("node2", TaskState.TASK_FAILED)).to.equal(TaskState.TASK_FAILED);
    expect(say("node2", TaskState.TASK_COMPLETE)).to.equal(TaskState.TASK_FAILED);
  });

  it("leaves the tasks of a removed node to the orchestrator, which ends them and rests their addresses", () => {
    const state = cluster();
    const target = state.networkByName("back")!.id;
    commit(state, (tx) => {
      tx.put(
        "task",
        Task.fromPartial({
          id: "t1",
          nodeId: "node2",
          desiredState: TaskState.TASK_RUNNING,
          spec: { networks: [{ target }] },
        }),
      );
      allocate(tx, ctx);
      ops.setNodeState(tx, ctx, "node2", NodeState.NODE_DOWN, "no heartbeat");
      ops.removeNode(tx, ctx, { ref: "beta", force: false, members: [] });
    });
    expect(state.get("task", "t1")!.desiredState).to.equal(TaskState.TASK_RUNNING);
    commit(state, (tx) => orchestrate(tx, ctx, { services: [], nodes: ["node2"] }));
    expect(state.get("task", "t1")!.status!.state).to.equal(TaskState.TASK_ORPHANED);
    expect(state.addressHolder(target, "10.77.0.3")).to.equal(`lease/${target}/10.77.0.3`);
  });

  it("removes a manager that never came, by force; not one that came, and not the only one", () => {
    const join = (tx: Tx, id: string, hostname: string) =>
      ops.registerNode(tx, ctx, { id, hostname, role: NodeRole.MANAGER, addr: "192.0.2.3" });
    const remove = (on: State, ref: string, force: boolean) => () =>
      ops.removeNode(on.begin(), ctx, { ref, force, members: [] });
    const state = cluster();
    commit(state, (tx) => {
      join(tx, "node3", "gamma");
      join(tx, "node4", "delta");
      ops.setNodeState(tx, ctx, "node4", NodeState.NODE_DOWN, "no heartbeat");
    });
    expect(remove(state, "gamma", false)).to.throw(TswarmError, "gamma is a manager");
    expect(remove(state, "delta", true)).to.throw(TswarmError, "delta is a manager");
    commit(state, (tx) => ops.removeNode(tx, ctx, { ref: "gamma", force: true, members: [] }));
    expect(state.get("node", "node3")).to.equal(undefined);
    const fresh = createState();
    commit(fresh, (tx) => join(tx, "node1", "alpha"));
    expect(remove(fresh, "alpha", true)).to.throw(TswarmError, "alpha is a manager");
  });

  it("replaces only the token that is given", () => {
    const state = cluster();
    const next = commit(state, (tx) => ops.rotateTokens(tx, ctx, { worker: "T-2" }));
    expect(next.joinTokenManager).to.equal("T-1-aa-older");
    expect(next.joinTokenWorker).to.equal("T-2");
  });
});
