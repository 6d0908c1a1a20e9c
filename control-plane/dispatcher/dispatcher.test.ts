import { expect } from "chai";
import { silentLogger } from "#base/log.ts";
import { seededRandom } from "#base/random.ts";
import { createManualClock } from "#control-plane/controllers/manual-clock.ts";
import { createDispatcher } from "#control-plane/dispatcher/dispatcher.ts";
import { createMemoryLog } from "#control-plane/log/memory-log.ts";
import { createReplicatedState } from "#control-plane/manager/replicated-state.ts";
import { applyNodeSession, initCluster, registerNode } from "#control-plane/operations/index.ts";
import { createState } from "#control-plane/state/state.ts";
import { ClusterSpec, NodeDescription, NodeRole, NodeState } from "#proto/gen/types.ts";

const HEARTBEAT_MS = 1_000;
const NODES = ["m1", "m2", "w1"];

describe("nodes that do not come back after a change of leader", () => {
  const setup = async () => {
    const clock = createManualClock();
    const random = seededRandom(4);
    const replicated = createReplicatedState(createState(), clock, random);
    replicated.attach(createMemoryLog(replicated.machine));
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
    return { clock, dispatcher, down };
  };

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
});
