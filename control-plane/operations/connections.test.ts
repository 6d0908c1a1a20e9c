import { expect } from "chai";
import fc from "fast-check";
import { allocate } from "#control-plane/allocator/allocate.ts";
import { nodeView } from "#control-plane/node-view/node-view.ts";
import { orchestrate } from "#control-plane/orchestrator/orchestrate.ts";
import { isCurrent } from "#control-plane/orchestrator/slot.ts";
import { hasEnded } from "#control-plane/orchestrator/task-life.ts";
import { schedule } from "#control-plane/scheduler/schedule.ts";
import { ADDRESS_REST_MS } from "#control-plane/state/apply.ts";
import type { State } from "#control-plane/state/types.ts";
import { NetworkAttachmentConfig, NodeState, type Task, TaskState } from "#proto/gen/types.ts";
import { refused, report, running, start } from "./container-fixture.ts";
import * as ops from "./index.ts";
import { cluster, commit, create, ctx, network, service } from "./network-fixture.ts";

const config = (more: Parameters<typeof NetworkAttachmentConfig.fromPartial>[0] = {}) =>
  NetworkAttachmentConfig.fromPartial(more);
const connect = (state: State, to: string, task: string, more = {}): Task =>
  commit(state, (tx) => ops.connectNetwork(tx, ctx, { network: to, task, config: config(more) }));
const disconnect = (state: State, from: string, task: string, force = false): Task =>
  commit(state, (tx) => ops.disconnectNetwork(tx, ctx, { network: from, task, force }));

/** The container box runs on bridge; two and one are attachable, back is not. */
const setup = (): { state: State; box: Task } => {
  const state = cluster();
  create(state, network("one", { attachable: true, ipam: [{ subnet: "10.81.0.0/24" }] }));
  create(state, network("two", { attachable: true, ipam: [{ subnet: "10.82.0.0/29" }] }));
  const box = report(state, start(state, running("box")), TaskState.TASK_RUNNING);
  return { state, box };
};
const web = (state: State): Task => {
  const { id } = commit(state, (tx) => ops.createService(tx, ctx, { spec: service("web", [{ target: "back" }]) }));
  commit(state, (tx) => {
    const { created } = orchestrate(tx, ctx, { services: [id], nodes: [] });
    allocate(tx, ctx, { tasks: created });
    schedule(tx, ctx, { tasks: created });
  });
  return report(state, state.tasksOfService(id)[0]!, TaskState.TASK_RUNNING);
};
const interfaces = (task: Task): string[] => task.attachments.map((a) => `${a.interfaceName} ${a.ipv4}`);

describe("connecting networks to what runs", () => {
  it("gives an address and the next interface; names stay when an earlier one goes", () => {
    const { state, box } = setup();
    const bridged = interfaces(box)[0]!;
    connect(state, "one", "box", { aliases: ["b"] });
    const task = connect(state, "two", "box", { ipv4: ["10.82.0.5"], mac: "02:42:00:00:00:05", gatewayPriority: 1 });
    expect(interfaces(task)).to.deep.equal([bridged, "eth1 10.81.0.2/24", "eth2 10.82.0.5/29"]);
    expect(task.attachments[2]).to.include({ mac: "02:42:00:00:00:05", gatewayPriority: 1 });
    expect(interfaces(disconnect(state, "bridge", "box"))).to.deep.equal(["eth1 10.81.0.2/24", "eth2 10.82.0.5/29"]);
    expect(interfaces(connect(state, "bridge", "box"))[2]).to.match(/^eth0 /);
    expect(state.get("task", box.id)!.spec!.networks).to.have.length(3);
  });

  it("names interfaces of tasks from before, as their agent did", () => {
    const { state, box } = setup();
    commit(state, (tx) =>
      tx.put("task", {
        ...tx.get("task", box.id)!,
        attachments: box.attachments.map((a) => ({ ...a, interfaceName: "" })),
      }),
    );
    connect(state, "one", "box");
    expect(disconnect(state, "bridge", "box").attachments.map((a) => a.interfaceName)).to.deep.equal(["eth1"]);
  });

  it("an address that was given back rests", () => {
    const { state } = setup();
    connect(state, "one", "box", { ipv4: ["10.81.0.9"] });
    disconnect(state, "one", "box");
    const one = state.networkByName("one")!;
    expect(state.addressHolder(one.id, "10.81.0.9")).to.match(/^lease\//);
    const again = () =>
      ops.connectNetwork(state.begin(), ctx, { network: "one", task: "box", config: config({ ipv4: ["10.81.0.9"] }) });
    expect(refused(again)).to.include({ code: "conflict", field: "ipv4" });
    commit(state, (tx) => allocate(tx, { ...ctx, now: ctx.now + ADDRESS_REST_MS }));
    expect(interfaces(connect(state, "one", "box", { ipv4: ["10.81.0.9"] }))[1]).to.equal("eth1 10.81.0.9/24");
  });

  it("a service's task is connected alone: spec, updater and replacements don't know", () => {
    const { state } = setup();
    const before = web(state);
    const served = state.get("service", before.serviceId)!;
    const task = connect(state, "one", "web.1");
    expect(interfaces(task)).to.have.length(2);
    expect(task.spec).to.deep.equal(before.spec);
    expect(state.get("service", served.id)).to.equal(served);
    // Also when only what it was made from can tell, as after a rollback.
    const tx = state.begin();
    expect(isCurrent({ tx, service: { ...served, specVersion: 9 } }, task)).to.equal(true);
    const pass = () => commit(state, (tx) => orchestrate(tx, ctx, { services: [served.id], nodes: [] }));
    pass();
    expect(state.tasksOfService(served.id)).to.have.length(1);
    const viewed = () => ops.viewNetwork(state, state.networkByName("back")!).tasks.map((t) => t.name);
    expect(viewed()).to.deep.equal(["web.1"]);
    disconnect(state, "back", "web.1");
    expect(viewed()).to.deep.equal([]);
    pass();
    expect(state.tasksOfService(served.id).map((t) => t.desiredState)).to.deep.equal([task.desiredState]);
    report(state, task, TaskState.TASK_FAILED);
    pass();
    const heir = state.tasksOfService(served.id).find((t) => t.id !== task.id)!;
    expect(heir.spec!.networks.map((n) => n.target)).to.deep.equal([state.networkByName("back")!.id]);
  });

  it("has a name on networks where no service speaks for it", () => {
    const { state } = setup();
    web(state);
    const item = (network: string, id: string) => {
      const found = nodeView(state, "node1").get(`service/${state.networkByName(network)!.id}/${id}`)?.item;
      return found?.$case === "service" ? found.value : undefined;
    };
    const { id } = connect(state, "one", "web.1", { aliases: ["front"] });
    expect(item("one", id)).to.deep.include({ name: "web.1", aliases: ["front"], vip4: "" });
    expect(item("one", id)!.backends).to.deep.equal([
      { taskId: id, slot: 0, ipv4: "10.81.0.2", ipv6: "", taskName: "" },
    ]);
    expect(item("back", id)).to.equal(undefined);
    const box = connect(state, "one", "box");
    expect(item("one", box.id)!.name).to.equal("box");
    expect(item("bridge", box.id)!.name).to.equal("box");
    disconnect(state, "one", "box");
    expect(item("one", box.id)).to.equal(undefined);
  });

  it("is refused with field, reason and remedy, and changes nothing", () => {
    const { state, box } = setup();
    create(
      state,
      network("lan", { driver: "macvlan", ipam: [{ subnet: "192.0.2.0/24" }], options: { "parent@beta": "eth9" } }),
    );
    create(state, network("tiny", { attachable: true, ipam: [{ subnet: "10.83.0.0/29", range: "10.83.0.4/31" }] }));
    for (const name of ["box", "full"]) {
      if (name !== "box") report(state, start(state, running(name)), TaskState.TASK_RUNNING);
      connect(state, "tiny", name);
    }
    start(state, running("late"));
    report(state, start(state, running("hosted", [{ target: "host" }])), TaskState.TASK_RUNNING);
    const other = report(
      state,
      start(state, running("other", [{ target: "one", ipv4: ["10.81.0.7"] }])),
      TaskState.TASK_RUNNING,
    );
    const tried = (to: string, task: string, more = {}) =>
      refused(() => ops.connectNetwork(state.begin(), ctx, { network: to, task, config: config(more) }));
    const index = state.index;
    for (const [to, task, more, code, field, reason] of [
      ["nowhere", "box", {}, "not_found", "network", /there is no network/],
      ["one", "nobody", {}, "not_found", "task", /there is no task/],
      ["one", "late", {}, "conflict", "task", /late is not running/],
      ["bridge", "box", {}, "conflict", "network", /box is on network bridge already/],
      ["back", "box", {}, "forbidden", "network", /not attachable/],
      ["host", "box", {}, "invalid", "network", /can't be combined/],
      ["one", "hosted", {}, "invalid", "network", /network host .* can't be combined/],
      ["ingress", "box", {}, "invalid", "network", /for published ports/],
      ["lan", "box", {}, "conflict", "network", /no parent interface on node alpha/],
      ["tiny", other.name, {}, "exhausted", "network", /network tiny: no IPv4 address is free/],
      ["one", "box", { ipv4: ["10.81.0.7"] }, "conflict", "task.networks[0].ipv4", /held by task other on node alpha/],
      ["one", "box", { ipv4: ["10.99.0.7"] }, "invalid", "config.ipv4", /is in no subnet of network one/],
      ["one", "box", { ipv4: ["nine"] }, "invalid", "ipv4", /is no IPv4 address/],
      ["one", "box", { interfaceName: "eth0" }, "conflict", "interfaceName", /has an interface eth0/],
      ["one", "box", { aliases: ["a b"] }, "invalid", "aliases", /is no DNS name/],
    ] as const) {
      const issue = tried(to, task, more);
      expect(`${issue.code} ${issue.field}`, issue.reason).to.equal(`${code} ${field}`);
      expect(issue.reason).to.match(reason);
    }
    expect(
      refused(() => ops.disconnectNetwork(state.begin(), ctx, { network: "one", task: "box", force: false })).reason,
    ).to.equal("box is not on network one");
    const node = state.get("node", box.nodeId)!;
    expect(state.index).to.equal(index);
    commit(state, (tx) => tx.put("node", { ...node, status: { ...node.status!, state: NodeState.NODE_DOWN } }));
    expect(tried("one", "box")).to.include({ code: "unavailable", field: "task" });
    const take = (force: boolean) => () =>
      ops.disconnectNetwork(state.begin(), ctx, { network: "bridge", task: "box", force });
    expect(refused(take(false))).to.include({ code: "unavailable", field: "task" });
    expect(take(true)().attachments).to.have.length(1);
  });

  it("leaks no address and uses none twice, whatever comes and goes; it is refused only when all are used or rest", () => {
    const names = ["a", "b", "c", "d", "e", "f"];
    const steps = fc.array(fc.record({ what: fc.constantFrom("connect", "disconnect", "end", "wait"), n: fc.nat(5) }), {
      maxLength: 40,
    });
    fc.assert(
      fc.property(steps, (history) => {
        const { state } = setup();
        for (const name of names) report(state, start(state, running(name)), TaskState.TASK_RUNNING);
        const two = state.networkByName("two")!;
        const attached = () =>
          [...state.all("task")]
            .filter((task) => !hasEnded(task))
            .flatMap((task) =>
              task.attachments.filter((a) => a.networkId === two.id).map((a) => a.ipv4.split("/")[0]!),
            );
        for (const { what, n } of history) {
          const task = state.containerByName(names[n]!)!;
          const isOn = attached().includes(task.attachments.at(-1)!.ipv4.split("/")[0]!);
          if (what === "wait") commit(state, (tx) => allocate(tx, { ...ctx, now: ctx.now + ADDRESS_REST_MS }));
          else if (hasEnded(task)) continue;
          else if (what === "end") report(state, task, TaskState.TASK_FAILED);
          else if (what === "disconnect" && isOn) disconnect(state, "two", task.name);
          else if (what === "connect" && !isOn) {
            const free = 6 - state.heldAddresses(two.id).size;
            if (free > 0) connect(state, "two", task.name);
            else expect(refused(() => connect(state, "two", task.name)).code).to.equal("exhausted");
          }
          const resting = [...state.all("lease")].filter((l) => l.networkId === two.id).map((l) => l.address);
          expect([...state.heldAddresses(two.id)].sort()).to.deep.equal(
            ["10.82.0.1", ...attached(), ...resting].sort(),
          );
        }
      }),
      { numRuns: 50 },
    );
  });
});
