import { expect } from "chai";
import { TswarmError } from "#base/errors.ts";
import { createState } from "#control-plane/state/state.ts";
import type { State, Tx } from "#control-plane/state/types.ts";
import {
  type DeepPartial,
  Network,
  Node,
  NodeState,
  PortConfig,
  PortMode,
  PortProtocol,
  Service,
  ServiceSpec,
  Task,
  TaskState,
} from "#proto/gen/types.ts";
import { allocate } from "./allocate.ts";
import { allocatePorts, lacksPorts } from "./ports.ts";

const { TCP, UDP } = PortProtocol;
const { INGRESS, HOST } = PortMode;
const mesh = (published: number, target = 80, more: DeepPartial<PortConfig> = {}): PortConfig =>
  PortConfig.fromPartial({ protocol: TCP, mode: INGRESS, published, target, ...more });
const host = (published: number, target = 80, more: DeepPartial<PortConfig> = {}): PortConfig =>
  mesh(published, target, { mode: HOST, ...more });

let commands = 0;
const commit = (state: State, write: (tx: Tx) => void): void => {
  const tx = state.begin();
  write(tx);
  const command = { id: `c${commands++}`, time: 1, changes: tx.changes() };
  expect(state.apply(state.index + 1, command)).to.deep.equal({ ok: true });
};
const pass = (state: State): void => commit(state, (tx) => void allocate(tx, { now: 1, newId: () => "x" }));
const service = (id: string, ports: PortConfig[], allocated = ports, networks: string[] = []): Service =>
  Service.fromPartial({
    id,
    spec: { annotations: { name: id }, ports, task: { networks: networks.map((target) => ({ target })) } },
    ports: allocated,
  });
const network = (id: string, driver: string, ingress = false): Network =>
  Network.fromPartial({
    id,
    vni: driver === "overlay" ? 5000 + id.length : 0,
    spec: { annotations: { name: id }, driver, ipv4: true, ingress },
    subnets: driver === "host" ? [] : [{ subnet: `10.0.${id.length}.0/24`, gateway: `10.0.${id.length}.1` }],
  });
const node = (id: string, hostPorts: object[], state: NodeState = NodeState.NODE_READY): Node =>
  Node.fromPartial({ id, description: { hostname: `host-${id}`, hostPorts }, status: { state } });
const withState = (...services: Service[]): State => {
  const state = createState();
  commit(state, (tx) => {
    for (const found of services) tx.put("service", found);
  });
  return state;
};
const numbers = (state: State, ports: PortConfig[], current: PortConfig[] = [], id = "new"): number[] =>
  allocatePorts(state, ServiceSpec.fromPartial({ ports }), current, id).map((port) => port.published);
const refusal = (state: State, ports: PortConfig[], current: PortConfig[] = [], id = "new"): string => {
  try {
    numbers(state, ports, current, id);
  } catch (error) {
    if (error instanceof TswarmError) return `${error.code} ${error.issues[0]!.field}: ${error.issues[0]!.reason}`;
    throw error;
  }
  return "";
};

describe("published ports in the state", () => {
  it("gives ports without a number the first free one of the range, and leaves those of mode host to the scheduler", () => {
    const state = withState(service("a", [mesh(30_000), host(30_001)]));
    commit(state, (tx) => tx.put("node", node("n", [{ protocol: TCP, port: 30_002, hostIp: "127.0.0.1" }])));
    expect(numbers(state, [mesh(30_003), mesh(0), mesh(0, 81), mesh(0, 80, { protocol: UDP }), host(0)])).to.deep.equal(
      [30_003, 30_004, 30_005, 30_000, 0],
    );
  });

  it("keeps what a port has, whatever its place in the spec", () => {
    const state = withState(service("a", [mesh(0, 80), mesh(0, 81)], [mesh(30_000, 80), mesh(30_001, 81)]));
    const { ports } = state.get("service", "a")!;
    expect(numbers(state, [mesh(0, 81), mesh(0, 82), mesh(0, 80)], ports, "a")).to.deep.equal([30_001, 30_002, 30_000]);
    // A fixed number goes before one that was chosen.
    expect(numbers(state, [mesh(0, 80), mesh(30_000, 9)], ports, "a")).to.deep.equal([30_002, 30_000]);
  });

  it("says when the range is used up", () => {
    const ports = Array.from({ length: 2768 }, (_, i) => mesh(30_000 + i));
    expect(refusal(withState(service("a", ports)), [mesh(0)])).to.equal(
      "exhausted ports: no tcp port from 30000 to 32767 is free",
    );
  });

  const conflicts: [string, (tx: Tx) => void, PortConfig, string][] = [
    [
      "a port of the mesh",
      (tx) => tx.put("service", service("web", [mesh(8080)])),
      mesh(8080),
      "service web publishes tcp port 8080 in mode ingress",
    ],
    [
      "a port of the mesh on another address",
      (tx) => tx.put("service", service("web", [mesh(8080, 80, { hostIp: "192.0.2.1" })])),
      mesh(8080, 80, { hostIp: "192.0.2.2" }),
      "service web publishes tcp port 8080 in mode ingress",
    ],
    [
      "a port of mode host, for the mesh",
      (tx) => tx.put("service", service("web", [host(8080)])),
      mesh(8080),
      "service web publishes tcp port 8080 in mode host",
    ],
    [
      "a port of the mesh, for mode host",
      (tx) => tx.put("service", service("web", [mesh(8080)])),
      host(8080),
      "service web publishes tcp port 8080 in mode ingress",
    ],
    [
      "the port that the scheduler found for a task",
      (tx) =>
        tx.put("task", Task.fromPartial({ id: "t", name: "db.1", serviceId: "db", nodeId: "n", ports: [host(8080)] })),
      mesh(8080),
      "task db.1 publishes 8080/tcp on its node in mode host",
    ],
    [
      "a program of a node",
      (tx) => tx.put("node", node("n", [{ protocol: TCP, port: 8080, hostIp: "127.0.0.1", owner: "nginx (pid 812)" }])),
      mesh(8080),
      "nginx (pid 812) on node host-n listens on 127.0.0.1:8080/tcp",
    ],
  ];
  for (const [what, write, port, reason] of conflicts)
    it(`refuses ${what}`, () => {
      const state = createState();
      commit(state, write);
      expect(refusal(state, [mesh(1), port])).to.equal(`conflict ports[1].published: ${reason}`);
      expect(refusal(state, [{ ...port, protocol: UDP }])).to.equal("");
      expect(refusal(state, [{ ...port, published: 8081 }])).to.equal("");
    });

  const allowed: [string, (tx: Tx) => void, PortConfig][] = [
    [
      "a program of a node that is down",
      (tx) => tx.put("node", node("n", [{ protocol: TCP, port: 8080 }], 1)),
      mesh(8080),
    ],
    [
      "a program of a node, for mode host: others may have it free",
      (tx) => tx.put("node", node("n", [{ protocol: TCP, port: 8080 }])),
      host(8080),
    ],
    [
      "another address",
      (tx) => tx.put("service", service("web", [host(8080, 80, { hostIp: "127.0.0.1" })])),
      mesh(8080, 80, { hostIp: "192.0.2.1" }),
    ],
    ["mode host twice: on two nodes", (tx) => tx.put("service", service("web", [host(8080)])), host(8080)],
    [
      "a service that is being removed",
      (tx) => tx.put("service", { ...service("web", [mesh(8080)]), pendingDelete: true }),
      mesh(8080),
    ],
    [
      "a task that has ended",
      (tx) =>
        tx.put("task", Task.fromPartial({ id: "t", ports: [host(8080)], status: { state: TaskState.TASK_FAILED } })),
      mesh(8080),
    ],
  ];
  for (const [what, write, port] of allowed)
    it(`lets pass ${what}`, () => {
      const state = createState();
      commit(state, write);
      expect(refusal(state, [port])).to.equal("");
    });

  it("does not question what a service has already, and asks about what is new", () => {
    const state = withState(service("web", [mesh(8080)]));
    commit(state, (tx) =>
      tx.put(
        "node",
        node(
          "n",
          [8080, 9090].map((port) => ({ protocol: TCP, port })),
        ),
      ),
    );
    expect(refusal(state, [mesh(8080, 81)], [mesh(8080)], "web")).to.equal("");
    expect(refusal(state, [mesh(8080), mesh(9090)], [mesh(8080)], "web")).to.match(/^conflict ports\[1\]/);
  });

  it("knows when ports are what the spec asks for", () => {
    const spec = ServiceSpec.fromPartial({ ports: [mesh(0), mesh(8080), host(0)] });
    expect(lacksPorts(spec, [mesh(30_000), mesh(8080), host(0)])).to.equal(false);
    expect(lacksPorts(spec, [mesh(0), mesh(8080), host(0)])).to.equal(true);
    expect(lacksPorts(spec, [mesh(30_000), mesh(8081), host(0)])).to.equal(true);
    expect(lacksPorts(spec, [mesh(30_000), mesh(8080, 81), host(0)])).to.equal(true);
    expect(lacksPorts(spec, [mesh(30_000)])).to.equal(true);
  });
});

describe("the allocator, for published ports", () => {
  const task = (serviceId: string, networks: string[], ports: PortConfig[] = []): Task =>
    Task.fromPartial({
      id: `task of ${serviceId}`,
      serviceId,
      ports,
      desiredState: TaskState.TASK_RUNNING,
      spec: { networks: networks.map((target) => ({ target })) },
    });
  /** The networks that a task gets, and its ports. */
  const attached = (networks: string[], ports: PortConfig[], own = false): [string[], PortConfig[]] => {
    const state = createState();
    commit(state, (tx) => {
      tx.put("network", network("in", "overlay", true));
      tx.put("network", network("back", "overlay"));
      tx.put("network", network("bridge", "bridge"));
      tx.put("network", network("host!", "host"));
      if (!own) tx.put("service", service("web", ports, ports, networks));
      tx.put("task", own ? task("", networks, ports) : task("web", networks));
    });
    pass(state);
    const [found] = [...state.all("task")];
    expect(found!.status!.state).to.equal(TaskState.TASK_PENDING);
    return [found!.attachments.map((a) => a.networkId), found!.ports];
  };

  it("attaches tasks to the ingress network when the mesh or their own node must reach them there", () => {
    expect(attached(["back"], [])).to.deep.equal([["back"], []]);
    expect(attached(["back"], [mesh(80)])).to.deep.equal([["back", "in"], []]);
    expect(attached(["bridge"], [mesh(80)])).to.deep.equal([["bridge", "in"], []]);
    expect(attached([], [mesh(80)])).to.deep.equal([["in"], []]);
    expect(attached(["back"], [host(80)])).to.deep.equal([["back", "in"], [host(80)]]);
    expect(attached(["back", "bridge"], [host(80)])).to.deep.equal([["back", "bridge"], [host(80)]]);
    expect(attached(["host!"], [host(80)])).to.deep.equal([["host!"], [host(80)]]);
  });

  it("leaves a container of its own the ports that it brings along", () => {
    expect(attached(["bridge"], [host(0)], true)).to.deep.equal([["bridge"], [host(0)]]);
    expect(attached(["back"], [host(0)], true)).to.deep.equal([["back", "in"], [host(0)]]);
  });

  it("says that there is no ingress network", () => {
    const state = createState();
    commit(state, (tx) => {
      tx.put("service", service("web", [mesh(80)]));
      tx.put("task", task("web", []));
    });
    pass(state);
    expect([...state.all("task")][0]!.status!.error).to.equal("network ingress does not exist any more");
  });

  it("completes the ports of a service after a rollback, as soon as they are free", () => {
    const state = withState(service("web", [mesh(8080), mesh(0)], [mesh(9090)]), service("db", [mesh(8080)]));
    pass(state);
    expect(state.get("service", "web")!.ports).to.deep.equal([mesh(9090)]);
    commit(state, (tx) => tx.delete("service", "db"));
    pass(state);
    expect(state.get("service", "web")!.ports).to.deep.equal([mesh(8080), mesh(30_000)]);
  });
});
