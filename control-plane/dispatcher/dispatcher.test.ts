import { expect } from "chai";
import type { TswarmError } from "#base/errors.ts";
import { silentLogger } from "#base/log.ts";
import { createQueue } from "#base/queue.ts";
import { seededRandom } from "#base/random.ts";
import { createManualClock } from "#control-plane/controllers/manual-clock.ts";
import { createDispatcher } from "#control-plane/dispatcher/dispatcher.ts";
import { createMemoryLog } from "#control-plane/log/memory-log.ts";
import { createReplicatedState } from "#control-plane/manager/replicated-state.ts";
import { applyNodeSession, initCluster, registerNode, setNodeState } from "#control-plane/operations/index.ts";
import { createState } from "#control-plane/state/state.ts";
import type { AgentMessage, ManagerMessage } from "#proto/gen/dispatcher.ts";
import { ClusterSpec, NodeDescription, NodeRole, NodeState, Task, TaskState } from "#proto/gen/types.ts";

const HEARTBEAT_MS = 1_000;
const NODES = ["m1", "m2", "w1"];

describe("nodes that do not come back after a change of leader", () => {
  const setup = async () => {
    const clock = createManualClock();
    const random = seededRandom(4);
    const replicated = createReplicatedState(createState(), clock, random);
    const log = createMemoryLog(replicated.machine);
    replicated.attach(log);
    const none = Buffer.alloc(0);
    await replicated.write((tx, ctx) => {
      initCluster(tx, ctx, {
        id: "c1",
        spec: ClusterSpec.fromPartial({ heartbeatMs: HEARTBEAT_MS }),
        ...{ caCertificatePem: none, caKeyPem: none, joinTokenWorker: "w", joinTokenManager: "m" },
      });
      for (const id of NODES) {
        const role = id === "w1" ? NodeRole.WORKER : NodeRole.MANAGER;
        registerNode(tx, ctx, { id, hostname: id, role, addr: "192.0.2.1" });
        applyNodeSession(tx, ctx, id, { description: NodeDescription.fromPartial({ hostname: id }), addr: "" });
      }
    });
    const dispatcher = createDispatcher({
      ...{ replicated, clock, logger: silentLogger, newId: String },
      ...{ managers: () => [], leaderAddr: () => "" },
    });
    const down = () => NODES.filter((id) => replicated.state.get("node", id)?.status?.state === NodeState.NODE_DOWN);
    /** The messages of a new session; `error` when it is over. */
    const connect = (nodeId: string) => {
      const up = createQueue<AgentMessage>();
      const start = { description: NodeDescription.fromPartial({ hostname: nodeId }), addr: "192.0.2.1", statuses: [] };
      up.push({ message: { $case: "start", value: start } });
      const peer = { nodeId, clusterId: "c1", role: "worker" } as const;
      const messages = dispatcher.handlers.session(up, { peer, signal: new AbortController().signal } as never);
      const seen = { up, messages: [] as ManagerMessage[], error: undefined as TswarmError | undefined };
      void (async () => {
        for await (const message of messages) seen.messages.push(message);
      })().catch((error) => {
        seen.error = error;
      });
      return seen;
    };
    return { clock, dispatcher, down, replicated, log, connect };
  };

  it("are ready again when they open a session while they are being taken for down", async () => {
    const { clock, dispatcher, down, replicated, connect } = await setup();
    dispatcher.start("m2");
    const { messages } = connect("w1");
    await clock.pass(100);
    expect(messages[0]?.message?.$case).to.equal("accepted");
    // Its silence was noticed before the session, and is committed behind it.
    await replicated.write((tx, ctx) => setNodeState(tx, ctx, "w1", NodeState.NODE_DOWN, "no heartbeat"));
    await clock.pass(100);
    expect(down()).to.deep.equal([]);
    dispatcher.stop("");
  });

  it("get no session, and no refusal for good, of a manager that may lead no more", async () => {
    const { clock, dispatcher, log, connect } = await setup();
    dispatcher.start("m2");
    for (const nodeId of ["w1", "joined-elsewhere"]) {
      log.refuse(1);
      const seen = connect(nodeId);
      await clock.pass(100);
      expect(seen.messages).to.deep.equal([]);
      expect(seen.error?.code, nodeId).to.equal("unavailable");
    }
    dispatcher.stop("");
  });

  it("are down: the former leader's first, the others after three periods", async () => {
    const { clock, dispatcher, down } = await setup();
    dispatcher.start("m2");
    await clock.pass(2 * HEARTBEAT_MS - 1);
    expect(down()).to.deep.equal([]);
    await clock.pass(1);
    expect(down()).to.deep.equal(["m2"]);
    await clock.pass(HEARTBEAT_MS);
    expect(down()).to.deep.equal(NODES);
  });

  it("have longer when nobody has led before", async () => {
    const { clock, dispatcher, down } = await setup();
    dispatcher.start(undefined);
    await clock.pass(6 * HEARTBEAT_MS - 1);
    expect(down()).to.deep.equal([]);
    await clock.pass(1);
    expect(down()).to.deep.equal(NODES);
  });

  it("are the next leader's matter when this one leads no more", async () => {
    const { clock, dispatcher, down } = await setup();
    dispatcher.start("m2");
    await clock.pass(HEARTBEAT_MS);
    dispatcher.stop("");
    await clock.pass(10 * HEARTBEAT_MS);
    expect(down()).to.deep.equal([]);
  });

  it("are waited for until they have done what they are told, while they have a session", async () => {
    const { clock, dispatcher, replicated, connect } = await setup();
    dispatcher.start("m2");
    const settled = async (promise: Promise<void>): Promise<boolean> => {
      let done = false;
      void promise.then(() => {
        done = true;
      });
      await clock.pass(0);
      return done;
    };
    expect(await settled(dispatcher.caughtUp("w1", 1_000))).to.equal(true);
    const { up, messages } = connect("w1");
    const sequences = () =>
      messages.flatMap(({ message }) => (message?.$case === "assignments" ? [message.value.sequence] : []));
    const applied = (sequence: number) => up.push({ message: { $case: "applied", value: { sequence } } });
    while (sequences().length === 0) await clock.pass(0);
    const first = dispatcher.caughtUp("w1", 1_000);
    expect(await settled(first)).to.equal(false);
    applied(1);
    expect(await settled(first)).to.equal(true);
    await replicated.write((tx) =>
      tx.put("task", Task.fromPartial({ id: "t", nodeId: "w1", status: { state: TaskState.TASK_ASSIGNED } })),
    );
    const second = dispatcher.caughtUp("w1", 1_000);
    await clock.pass(100);
    expect(sequences()).to.deep.equal([1, 2]);
    expect(await settled(second)).to.equal(false);
    applied(2);
    expect(await settled(second)).to.equal(true);
    await replicated.write((tx) => tx.delete("task", "t"));
    const third = dispatcher.caughtUp("w1", 1_000);
    expect(await settled(third)).to.equal(false);
    await clock.pass(1_000);
    expect(await settled(third)).to.equal(true);
    dispatcher.stop("");
  });
});
