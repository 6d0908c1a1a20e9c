import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { expect } from "chai";
import { TswarmError } from "#base/errors.ts";
import { silentLogger } from "#base/log.ts";
import { realClock } from "#base/node/system.ts";
import { seededRandom } from "#base/random.ts";
import { startTestManager, type TestManager } from "#control-plane/manager/test-manager.ts";
import { removeNode, updateNode } from "#control-plane/operations/index.ts";
import { type Session, type SessionOptions, startSession } from "#node-agent/session/session.ts";
import { applyAssignments, emptyView, type View } from "#node-agent/session/view.ts";
import type { TaskStatusUpdate } from "#proto/gen/dispatcher.ts";
import {
  Network,
  NodeAvailability,
  NodeDescription,
  NodeSpec,
  NodeState,
  Service,
  Task,
  TaskState,
  TaskStatus,
} from "#proto/gen/types.ts";
import { openChannel } from "#proto/rpc/client.ts";
import { clientCredentials } from "#proto/rpc/security.ts";

const { TASK_ASSIGNED, TASK_COMPLETE, TASK_RUNNING, TASK_STARTING } = TaskState;

const until = async (what: string, done: () => boolean): Promise<void> => {
  for (let i = 0; !done(); i++) {
    if (i > 1_000) throw new Error(`never: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
};

/** A way to `target` that can be cut as a cable is: both ends stay open and hear nothing. */
const startCable = async (target: string) => {
  const sockets: Socket[] = [];
  let isCut = false;
  let connections = 0;
  const server = createServer((near) => {
    connections++;
    const far = connect(Number(target.split(":")[1]), "127.0.0.1");
    for (const socket of [near, far]) {
      sockets.push(socket);
      socket.on("error", () => {});
      socket.on("close", () => [near, far].forEach((s) => void s.destroy()));
    }
    near.on("data", (data) => isCut || far.write(data));
    far.on("data", (data) => isCut || near.write(data));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    connections: () => connections,
    cut: () => void (isCut = true),
    mend() {
      isCut = false;
      for (const socket of sockets.splice(0)) socket.destroy();
    },
    close() {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
};

describe("session with a manager", () => {
  let manager: TestManager;
  const sessions: Session[] = [];
  beforeEach(async () => {
    manager = await startTestManager(300);
  });
  afterEach(() => {
    for (const session of sessions.splice(0)) session.stop();
    manager.close();
  });

  const open = async (more: Partial<SessionOptions> = {}) => {
    const credentials = clientCredentials(await manager.identity("w1", "worker"));
    const seen = { view: emptyView as View, accepted: 0, completes: 0, removed: "", availability: 0 };
    const session = startSession({
      clock: realClock,
      random: seededRandom(2),
      logger: silentLogger,
      addr: "192.0.2.2",
      managers: () => [manager.address],
      dial: (address) => openChannel(address, credentials),
      description: async () => NodeDescription.fromPartial({ hostname: "beta" }),
      statuses: () => [],
      onAccepted: () => void seen.accepted++,
      onAssignments(message) {
        if (message.appliesTo === 0) seen.completes++;
        seen.view = applyAssignments(seen.view, message);
      },
      onManagers: (_addresses, _leader, node) => void (seen.availability = node?.availability ?? 0),
      onStream: () => {},
      onRemoved: (reason) => void (seen.removed = reason),
      ...more,
    });
    sessions.push(session);
    return { session, seen };
  };
  const status = (taskId: string, state: TaskState): TaskStatusUpdate => ({
    taskId,
    status: TaskStatus.fromPartial({ state }),
  });
  const assign = (...ids: string[]) =>
    manager.replicated.write((tx) => {
      for (const id of ids)
        tx.put(
          "task",
          Task.fromPartial({ id, nodeId: "w1", desiredState: TASK_RUNNING, status: { state: TASK_ASSIGNED } }),
        );
    });
  const stateOf = (id: string) => manager.replicated.state.get("task", id)?.status?.state;

  it("brings tasks down and statuses up, without a gap", async () => {
    const { session, seen } = await open();
    await until("accepted", () => seen.accepted === 1);
    expect(manager.replicated.state.get("node", "w1")?.status).to.include({
      state: NodeState.NODE_READY,
      addr: "192.0.2.2",
    });
    for (let i = 0; i < 20; i++) await assign(`t${i}`);
    await until("all assigned", () => seen.view.tasks.size === 20);
    expect(seen.completes).to.equal(1);
    for (let i = 0; i < 20; i++) session.report(status(`t${i}`, TASK_STARTING));
    for (let i = 0; i < 20; i++) session.report(status(`t${i}`, TASK_RUNNING));
    await until("all running", () => [...Array(20).keys()].every((i) => stateOf(`t${i}`) === TASK_RUNNING));
    await manager.replicated.write((tx) => tx.delete("task", "t3"));
    await until("gone", () => !seen.view.tasks.has("t3"));
  });

  it("hears that a task is drained when it has said that it took the task out", async () => {
    const confirm: (() => void)[] = [];
    const { session, seen } = await open({
      onAssignments(message, applied) {
        seen.view = applyAssignments(seen.view, message);
        confirm.push(applied);
      },
    });
    const attachments = [{ networkId: "net", ipv4: "10.0.0.2/24" }];
    await manager.replicated.write((tx) => {
      tx.put("network", Network.fromPartial({ id: "net", spec: { driver: "overlay" } }));
      tx.put("service", Service.fromPartial({ id: "s", spec: { task: { networks: [{ target: "net" }] } } }));
      const status = { state: TASK_RUNNING };
      const task = { id: "t1", serviceId: "s", nodeId: "w1", desiredState: TASK_RUNNING, status, attachments };
      tx.put("task", Task.fromPartial(task));
    });
    const backends = () => seen.view.services.get("service/net/s")?.backends.length;
    await until("a backend", () => backends() === 1);
    const early = confirm.at(-1)!;
    await manager.replicated.write((tx) =>
      tx.put("task", { ...tx.get("task", "t1")!, desiredState: TaskState.TASK_SHUTDOWN }),
    );
    await until("no backend", () => backends() === 0);
    early();
    // What a session is told is in order: this comes after whatever the early word had caused.
    await assign("t2");
    await until("t2", () => seen.view.tasks.has("t2"));
    expect(seen.view.drained.size).to.equal(0);
    manager.dispatcher.stop("");
    await until("cut off", () => session.leader() === undefined);
    const late = confirm.at(-1)!;
    manager.dispatcher.start();
    await until("a new session", () => confirm.at(-1) !== late && session.leader() !== undefined);
    late();
    await assign("t3");
    await until("t3", () => seen.view.tasks.has("t3"));
    expect(seen.view.drained.size).to.equal(0);
    confirm.at(-1)!();
    await until("drained", () => seen.view.drained.has("t1"));
  });

  it("what is reported while nobody leads arrives with the next session", async () => {
    const known = new Map<string, TaskStatusUpdate>();
    const { session, seen } = await open({ statuses: () => [...known.values()] });
    await assign("t1", "t2");
    await until("assigned", () => seen.view.tasks.size === 2);
    manager.dispatcher.stop("");
    await until("cut off", () => session.leader() === undefined);
    const report = (update: TaskStatusUpdate) => {
      known.set(update.taskId, update);
      session.report(update);
    };
    report(status("t1", TASK_RUNNING));
    report(status("t1", TASK_COMPLETE));
    manager.dispatcher.start();
    await until("reported", () => stateOf("t1") === TASK_COMPLETE);
    report(status("t2", TASK_RUNNING));
    await until("reported", () => stateOf("t2") === TASK_RUNNING);
    await until("complete views", () => seen.completes === seen.accepted);
  });

  it("what could not be written is sent again", async () => {
    const { session, seen } = await open({ statuses: () => [status("t1", TASK_RUNNING)] });
    await until("accepted", () => seen.accepted === 1);
    await assign("t1");
    await until("assigned", () => seen.view.tasks.size === 1);
    manager.log.failNext("before", new TswarmError("unavailable", "no quorum"));
    session.report(status("t1", TASK_RUNNING));
    await until("again", () => stateOf("t1") === TASK_RUNNING);
    await until("a second session", () => seen.accepted === 2);
  });

  it("a message that is missing in between begins the session anew", async () => {
    let dropped = false;
    let view: View = emptyView;
    const { seen } = await open({
      onAssignments(message) {
        if (message.appliesTo === 1 && !dropped) {
          dropped = true;
          return;
        }
        view = applyAssignments(view, message);
      },
    });
    await until("accepted", () => seen.accepted === 1);
    await assign("t1");
    await until("dropped", () => dropped);
    await assign("t2");
    await until("both", () => view.tasks.size === 2);
    expect(seen.accepted).to.equal(2);
  });

  it("a newer session of the node ends the older one", async () => {
    const first = await open();
    await until("accepted", () => first.seen.accepted === 1);
    first.session.stop();
    const second = await open();
    await until("accepted", () => second.seen.accepted === 1);
    await assign("t1");
    await until("assigned", () => second.seen.view.tasks.size === 1);
    expect(first.seen.view.tasks.size).to.equal(0);
  });

  it("tells the node what its administrator wants, and that it was removed", async () => {
    const { session, seen } = await open();
    await until("accepted", () => seen.accepted === 1);
    await manager.replicated.write((tx, ctx) => {
      const { meta, spec } = tx.get("node", "w1")!;
      const next = NodeSpec.fromPartial({ ...spec, availability: NodeAvailability.DRAIN });
      updateNode(tx, ctx, { id: "w1", version: meta!.version, spec: next });
    });
    await until("drained", () => seen.availability === NodeAvailability.DRAIN);
    await manager.replicated.write((tx, ctx) => removeNode(tx, ctx, { ref: "w1", force: true, members: [] }));
    await until("removed", () => seen.removed !== "");
    expect(session.leader()).to.equal(undefined);
    const { accepted } = seen;
    await new Promise((resolve) => setTimeout(resolve, 400));
    expect(seen.accepted).to.equal(accepted);
    expect(manager.replicated.state.get("node", "w1")).to.equal(undefined);
  });

  it("a node whose agent is silent is down, and up again with the next session", async () => {
    const { session, seen } = await open();
    await until("accepted", () => seen.accepted === 1);
    session.stop();
    const state = () => manager.replicated.state.get("node", "w1")?.status?.state;
    await until("down", () => state() === NodeState.NODE_DOWN);
    await open();
    await until("up", () => state() === NodeState.NODE_READY);
  });

  it("leaves a manager that has become silent, and asks another one first", async () => {
    const cable = await startCable(manager.address);
    const dialed: string[] = [];
    try {
      const credentials = clientCredentials(await manager.identity("w1", "worker"));
      const { seen } = await open({
        // Whose turn it is would be the silent one.
        managers: () => (dialed.length === 0 ? [cable.address] : [manager.address, cable.address]),
        dial(address) {
          dialed.push(address);
          return openChannel(address, credentials);
        },
      });
      await until("accepted", () => seen.accepted === 1);
      expect(dialed).to.deep.equal([cable.address]);
      cable.cut();
      await until("accepted by the other", () => seen.accepted === 2);
      expect(dialed).to.deep.equal([cable.address, manager.address]);
    } finally {
      cable.close();
    }
  });

  it("goes back to a silent manager when there is no other", async () => {
    const cable = await startCable(manager.address);
    try {
      const { seen } = await open({ managers: () => [cable.address] });
      await until("accepted", () => seen.accepted === 1);
      cable.cut();
      await until("tried again", () => cable.connections() > 1);
      cable.mend();
      await until("accepted again", () => seen.accepted === 2);
    } finally {
      cable.close();
    }
  });

  it("goes to the next manager when one does not answer", async () => {
    const { seen } = await open({ managers: () => ["127.0.0.1:1", manager.address] });
    await until("accepted", () => seen.accepted === 1);
  });
});
