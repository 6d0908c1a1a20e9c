import { expect } from "chai";
import { orchestrate } from "#control-plane/orchestrator/orchestrate.ts";
import { hasEnded } from "#control-plane/orchestrator/task-life.ts";
import { AUTO_REMOVE_LABEL } from "#control-plane/specs/own-container.ts";
import type { State } from "#control-plane/state/types.ts";
import type { RunContainerRequest } from "#proto/gen/control.ts";
import { NodeAvailability, NodeState, PortMode, PortProtocol, RestartCondition, TaskState } from "#proto/gen/types.ts";
import { refused, report, running, start } from "./container-fixture.ts";
import * as ops from "./index.ts";
import { cluster, commit, create, ctx, joins, network, service } from "./network-fixture.ts";

const orchestrated = (state: State, now = ctx.now) =>
  commit(state, (tx) => orchestrate(tx, { ...ctx, now }, { services: [""], nodes: [] }));

describe("containers of their own", () => {
  const run = (state: State, request: RunContainerRequest) =>
    refused(() => ops.runContainer(state.begin(), ctx, request));

  it("are tasks without a service on the node that was named, with addresses, interfaces and names of their own", () => {
    const state = cluster();
    create(state, network("open", { attachable: true }));
    const task = start(state, running("box", [{ target: "open", aliases: ["b"] }, { target: "bridge" }]));
    expect(task).to.include({
      serviceId: "",
      slot: 0,
      name: "box",
      nodeId: "node1",
      desiredState: TaskState.TASK_RUNNING,
    });
    expect(task.status!.state).to.equal(TaskState.TASK_ASSIGNED);
    expect(task.attachments.map((a) => a.interfaceName)).to.deep.equal(["eth0", "eth1"]);
    expect(ops.resolveTask(state, "box").id).to.equal(task.id);
    expect(ops.resolveLogTasks(state, "box").map((t) => t.id)).to.deep.equal([task.id]);
    const other = start(state, running(""));
    expect(other.name).to.equal(`web-${other.id.slice(0, 6)}`);
    expect(other.attachments.map((a) => state.get("network", a.networkId)?.spec?.annotations?.name)).to.deep.equal([
      "bridge",
    ]);
    expect(ops.selectTasks(state, [{ key: "is-task", values: ["false"] }])).to.have.length(2);
    expect(ops.selectTasks(state, [{ key: "status", values: ["created"] }])).to.have.length(2);
    expect(ops.selectTasks(state, [{ key: "status", values: ["running"] }])).to.have.length(0);
  });

  it("have names that only one of them has, also after its end", () => {
    const state = cluster();
    const task = start(state, running("box"));
    expect(run(state, running("box"))).to.include({ code: "name_conflict", field: "name" });
    report(state, task, TaskState.TASK_COMPLETE);
    expect(run(state, running("box")).reason).to.equal(`container box exists (${task.id})`);
    commit(state, (tx) => ops.removeContainer(tx, ctx, { ref: "box", force: false }));
    expect(start(state, running("box")).id).not.to.equal(task.id);
    // Two at the same moment: the second command is refused when it is applied.
    const [a, b] = [state.begin(), state.begin()];
    ops.runContainer(a, ctx, running("twin"));
    ops.runContainer(b, ctx, running("twin"));
    const apply = (tx: typeof a) =>
      state.apply(state.index + 1, { id: ctx.newId(), time: 1, changes: tx.changes() }).ok;
    expect([apply(a), apply(b)]).to.deep.equal([true, false]);
  });

  it("are refused with field, reason and remedy", () => {
    const state = cluster();
    commit(state, (tx) => ops.createService(tx, ctx, { spec: service("web", [{ target: "back" }]) }));
    expect(run(state, running("box", [{ target: "back" }]))).to.deep.include({
      code: "forbidden",
      field: "task.networks[0]",
      reason: "network back is not attachable: only services can be on it",
    });
    expect(run(state, running("box", [{ target: "back" }])).remedy).to.include("--attachable");
    expect(run(state, running("b.x"))).to.include({ code: "invalid", field: "annotations.name" });
    expect(run(state, running("box", [{ target: "host" }, { target: "bridge" }])).code).to.equal("invalid");
    expect(run(state, running("box", [], { node: "beta" }))).to.include({ code: "not_found", field: "node" });
    const restart = { container: { image: "localhost/web:1" }, restart: { condition: RestartCondition.RESTART_ANY } };
    expect(run(state, running("box", [], { spec: restart }))).to.include({
      code: "unsupported",
      field: "task.restart",
    });
    expect(run(state, running("box", [], { ports: [{ target: 80, mode: PortMode.INGRESS }] })).field).to.equal(
      "ports[0].mode",
    );
    const image = { container: { image: "localhost/other:1" } };
    expect(run(state, running("box", [], { spec: image })).reason).to.equal(
      "node alpha does not have the image localhost/other:1",
    );
  });

  it("are not put on nodes that take nothing", () => {
    const state = cluster();
    const node = state.get("node", "node1")!;
    commit(state, (tx) => tx.put("node", { ...node, spec: { ...node.spec!, availability: NodeAvailability.DRAIN } }));
    expect(run(state, running("box")).reason).to.equal("node alpha takes no new tasks, its availability is drain");
    const down = { ...node.status!, state: NodeState.NODE_DOWN };
    commit(state, (tx) => tx.put("node", { ...tx.get("node", node.id)!, status: down }));
    expect(run(state, running("box"))).to.include({ code: "unavailable", field: "node" });
  });

  it("publish ports of their node; who has one already is named", () => {
    const state = cluster();
    joins(state, "node2", "beta");
    const ports = [{ target: 80, published: 8080, protocol: PortProtocol.TCP }];
    expect(start(state, running("box", [], { ports })).ports[0]).to.include({ published: 8080, mode: PortMode.HOST });
    expect(run(state, running("too", [], { ports })).reason).to.equal("task box has 8080/tcp on node alpha");
    expect(start(state, running("else", [], { ports, node: "beta" })).nodeId).to.equal("node2");
    const node = state.get("node", "node2")!;
    const hostPorts = [{ protocol: PortProtocol.TCP, port: 8081, hostIp: "", owner: "nginx (pid 812)" }];
    commit(state, (tx) => tx.put("node", { ...node, description: { ...node.description!, hostPorts } }));
    const taken = running("host", [{ target: "host" }], { ports: [{ target: 8081, published: 8081 }], node: "beta" });
    expect(run(state, taken).reason).to.equal("nginx (pid 812) has 8081/tcp on node beta");
  });

  it("end when they are stopped and stay until they are removed; nothing replaces them", () => {
    const state = cluster();
    const task = start(state, running("box"));
    expect(refused(() => ops.removeContainer(state.begin(), ctx, { ref: "box", force: false }))).to.include({
      code: "conflict",
      reason: "box has not ended",
    });
    commit(state, (tx) => ops.stopContainer(tx, ctx, { ref: "box" }));
    expect(state.get("task", task.id)!.desiredState).to.equal(TaskState.TASK_SHUTDOWN);
    report(state, task, TaskState.TASK_SHUTDOWN);
    orchestrated(state);
    expect([...state.all("task")].map((t) => t.id)).to.deep.equal([task.id]);
    expect(commit(state, (tx) => ops.stopContainer(tx, ctx, { ref: "box" })).id).to.equal(task.id);
    commit(state, (tx) => ops.removeContainer(tx, ctx, { ref: "box", force: false }));
    expect(state.count("task")).to.equal(0);
  });

  it("are ended first when their removal is forced", () => {
    const state = cluster();
    const task = start(state, running("box"));
    commit(state, (tx) => ops.removeContainer(tx, ctx, { ref: "box", force: true }));
    orchestrated(state);
    expect(state.get("task", task.id)!.desiredState).to.equal(TaskState.TASK_REMOVE);
    report(state, task, TaskState.TASK_SHUTDOWN);
    orchestrated(state);
    expect(state.count("task")).to.equal(0);
  });

  it("remove themselves a while after their end when asked to", () => {
    const state = cluster();
    const container = { image: "localhost/web:1", labels: { [AUTO_REMOVE_LABEL]: "true" } };
    const task = start(state, running("once", [], { spec: { container } }));
    const kept = start(state, running("kept"));
    for (const one of [task, kept]) report(state, one, TaskState.TASK_FAILED);
    const { wakeAt } = orchestrated(state);
    expect([...state.all("task")].filter(hasEnded)).to.have.length(2);
    expect(wakeAt).to.be.greaterThan(ctx.now);
    orchestrated(state, wakeAt);
    expect([...state.all("task")].map((t) => t.name)).to.deep.equal(["kept"]);
  });

  it("of a node that is down can't be stopped, and a service's tasks are its own", () => {
    const state = cluster();
    const task = start(state, running("box"));
    const node = state.get("node", task.nodeId)!;
    commit(state, (tx) => tx.put("node", { ...node, status: { ...node.status!, state: NodeState.NODE_DOWN } }));
    for (const act of [ops.stopContainer, ops.removeContainer])
      expect(() => act(state.begin(), ctx, { ref: "box", force: true })).to.throw(
        /node alpha, which is down.*node rm --force alpha/,
      );
    commit(state, (tx) => {
      const { id } = ops.createService(tx, ctx, { spec: service("web", [{ target: "back" }]) });
      tx.put("task", {
        ...task,
        meta: undefined,
        id: "t9",
        serviceId: id,
        serviceName: "web",
        slot: 1,
        name: "web.1",
        attachments: [],
      });
    });
    expect(refused(() => ops.stopContainer(state.begin(), ctx, { ref: "web.1" })).reason).to.match(
      /task of service web/,
    );
  });
});
