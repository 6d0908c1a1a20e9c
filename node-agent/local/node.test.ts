import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Server, ServerCredentials } from "@grpc/grpc-js";
import { expect } from "chai";
import { TswarmError } from "#base/errors.ts";
import { newJoinToken } from "#base/join-token.ts";
import { silentLogger } from "#base/log.ts";
import { digestOfKey, loadIdentity, type NodeIdentity, saveIdentity } from "#base/node/identity-files.ts";
import { certificateDigest, createCa, createKeyAndRequest, issueCertificate, readCertificate } from "#base/node/pki.ts";
import { seededRandom } from "#base/random.ts";
import { newUnlockKey } from "#base/unlock-key.ts";
import { createControlService } from "#control-plane/api/control-service.ts";
import { managersOnly } from "#control-plane/api/require-manager.ts";
import { createManualClock } from "#control-plane/controllers/manual-clock.ts";
import { createBroker } from "#control-plane/dispatcher/broker.ts";
import { createCaService } from "#control-plane/identity/ca-service.ts";
import { createMemoryLog, member } from "#control-plane/log/memory-log.ts";
import { createReplicatedState } from "#control-plane/manager/replicated-state.ts";
import { initCluster, registerNode } from "#control-plane/operations/index.ts";
import { createState } from "#control-plane/state/state.ts";
import type { ManagerLock } from "#node-agent/local/manager-process.ts";
import { type ClusterNode, createClusterNode } from "#node-agent/local/node.ts";
import type { SessionOptions } from "#node-agent/session/session.ts";
import { CaDefinition } from "#proto/gen/ca.ts";
import { ControlDefinition } from "#proto/gen/control.ts";
import { InitRequest, JoinRequest, type RestorePiece } from "#proto/gen/node.ts";
import { ClusterSpec, NodeRole, NodeSpec } from "#proto/gen/types.ts";
import { identitySource, serverCredentials } from "#proto/rpc/security.ts";
import { addService } from "#proto/rpc/server.ts";

const OWN = "192.0.2.10";
const MOVED = "192.0.2.20";
const settle = () => new Promise<void>((resolve) => setTimeout(resolve, 5));

/** A cluster that consists of its CA and the control API. */
const createCluster = async () => {
  const ca = await createCa(Date.now());
  const random = seededRandom(5);
  const digest = certificateDigest(ca.certificatePem);
  const tokens = { worker: newJoinToken(digest, random), manager: newJoinToken(digest, random) };
  const replicated = createReplicatedState(createState(), { ...createManualClock(), now: Date.now }, random);
  const log = createMemoryLog(replicated.machine);
  replicated.attach(log);
  await replicated.write((tx, ctx) => {
    initCluster(tx, ctx, {
      id: "c1",
      spec: ClusterSpec.fromPartial({}),
      caCertificatePem: Buffer.from(ca.certificatePem),
      caKeyPem: Buffer.from(ca.keyPem),
      joinTokenWorker: tokens.worker,
      joinTokenManager: tokens.manager,
    });
    registerNode(tx, ctx, { id: "m1", hostname: "m1", role: NodeRole.MANAGER, addr: "192.0.2.1" });
  });
  const identity = async (nodeId: string): Promise<NodeIdentity> => {
    const { keyPem, csrPem } = await createKeyAndRequest();
    const subject = { nodeId, clusterId: "c1", role: "manager" as const };
    const certificatePem = await issueCertificate(ca, csrPem, subject, Date.now(), 3_600_000);
    return { keyPem, certificatePem, caPem: ca.certificatePem };
  };
  const server = new Server();
  const address = { own: "" };
  addService(
    server,
    CaDefinition,
    createCaService(replicated, { ...createManualClock(), now: Date.now }, () => [address.own]),
  );
  const broker = createBroker(() => false, String, createManualClock());
  const dispatcher = { broker, caughtUp: () => Promise.resolve() };
  addService(server, ControlDefinition, createControlService({ replicated, log, dispatcher, random }), {
    guard: managersOnly(replicated.state, "c1"),
  });
  const source = identitySource(await identity("m1"));
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync("127.0.0.1:0", serverCredentials(source), (e, bound) => (e ? reject(e) : resolve(bound))),
  );
  address.own = `127.0.0.1:${port}`;
  const setRole = (nodeId: string, role: NodeRole) =>
    replicated.write((tx) => {
      const node = tx.get("node", nodeId)!;
      tx.put("node", { ...node, spec: { ...node.spec!, role } });
    });
  const setMembers = (...nodeIds: string[]) =>
    log.become({ members: ["m1", ...nodeIds].map((nodeId, i) => member(i + 1, nodeId)) });
  return {
    tokens,
    identity,
    address: address.own,
    replicated,
    setRole,
    setMembers,
    close: () => server.forceShutdown(),
  };
};

describe("membership of a node", () => {
  let dir: string;
  let cluster: Awaited<ReturnType<typeof createCluster>>;
  before(async () => {
    cluster = await createCluster();
  });
  after(() => cluster.close());
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), "node-"));
  });
  afterEach(() => rmSync(dir, { recursive: true, force: true }));

  /** An agent's membership over `dir`; managers serve at once unless `failing` says otherwise. */
  const agent = (advertiseAddr = "") => {
    const clock = createManualClock(Date.now());
    const starts: string[] = [];
    const listens: string[] = [];
    const events: string[] = [];
    const failing: (TswarmError | undefined)[] = [];
    /** What the recovery process answers. */
    const recoveries: unknown[] = [];
    /** What each manager process was given to unlock its files, and asks for. */
    const locks: ManagerLock[] = [];
    let sessions: SessionOptions[] = [];
    const node: ClusterNode = createClusterNode({
      config: {
        ...{ dataDir: dir, runDir: dir, socket: join(dir, "s"), cgroupParent: "t", hostname: "alpha" },
        advertiseAddr,
        ...{ labels: {}, logLevel: "error" },
      },
      clock,
      random: seededRandom(3),
      logger: silentLogger,
      session: {
        description: () => Promise.reject(new Error("not asked for")),
        statuses: () => [],
        onAccepted: () => {},
        onAssignments: () => {},
        onStream: () => {},
      },
      onMember: ({ address }) => void events.push(`member ${address}`),
      removeTasks: async () => void events.push("tasks removed"),
      doubles: {
        hostAddresses: () => (advertiseAddr === "" ? new Map([["eth0", [OWN]]]) : new Map([["eth0", [OWN, MOVED]]])),
        startSession(options) {
          sessions.push(options);
          return {
            report: () => {},
            describe: () => {},
            leader: () => undefined,
            stop: () => {
              sessions = sessions.filter((s) => s !== options);
            },
          };
        },
        runRecovery: async <T>(request: object) => {
          events.push(`recovery ${(request as { kind: string }).kind}`);
          const next = recoveries.shift();
          const answer = typeof next === "function" ? next() : next;
          if (answer instanceof Error) throw answer;
          return answer as T;
        },
        startManagerProcess(args, _clock, _logger, lock) {
          locks.push(lock);
          starts.push(args.find((a) => a.startsWith("--join="))!);
          listens.push(...args.filter((a) => /^--(listen|advertise)=/.test(a)));
          const error = failing.shift();
          // What a manager does as soon as it runs.
          mkdirSync(join(dir, "manager", "raft", "wal"), { recursive: true });
          return {
            pid: () => 1,
            ready: error ? Promise.reject(error) : Promise.resolve(),
            reload: () => void events.push("manager reloads"),
            stop: async () => void events.push("manager stops"),
          };
        },
      },
    });
    return { node, clock, starts, listens, events, failing, recoveries, locks, sessions: () => sessions };
  };
  const join_ = (token: string, remoteAddrs = [cluster.address]) => JoinRequest.fromPartial({ token, remoteAddrs });
  const left = () => readdirSync(dir);
  const refusal = async (work: Promise<unknown>): Promise<TswarmError> => {
    const error = await work.catch((e: unknown) => e);
    expect(error).to.be.instanceOf(TswarmError);
    return error as TswarmError;
  };

  it("init makes a cluster of one manager; a restart goes on with it", async () => {
    const first = agent();
    const answer = await first.node.init(InitRequest.fromPartial({}));
    expect(answer.advertiseAddr).to.equal(`${OWN}:2377`);
    expect(first.starts).to.deep.equal(["--join="]);
    expect(first.sessions()).to.have.length(1);
    const { nodeId, joinTokenManager } = JSON.parse(readFileSync(join(dir, "manager", "bootstrap.json"), "utf8"));
    expect([nodeId, joinTokenManager]).to.deep.equal([answer.nodeId, answer.joinTokenManager]);
    expect((await refusal(first.node.init(InitRequest.fromPartial({})))).code).to.equal("conflict");
    const second = agent();
    await second.node.resume();
    expect(second.node.info()).to.include({ nodeId: answer.nodeId, role: NodeRole.MANAGER, state: "pending" });
    expect(second.starts).to.deep.equal(["--join="]);
  });

  it("an init whose manager can't serve leaves nothing, and can be repeated", async () => {
    const { node, failing, sessions, events } = agent();
    failing.push(new TswarmError("conflict", "can't listen"));
    expect((await refusal(node.init(InitRequest.fromPartial({})))).message).to.contain("can't listen");
    expect(left()).to.deep.equal([]);
    expect(sessions()).to.deep.equal([]);
    expect(events).to.include("manager stops");
    expect(node.info().state).to.equal("inactive");
    await node.init(InitRequest.fromPartial({}));
    expect(node.info().role).to.equal(NodeRole.MANAGER);
  });

  it("what an interrupted leave has left, a log of another cluster above all, is not taken over", async () => {
    mkdirSync(join(dir, "manager", "raft", "wal"), { recursive: true });
    writeFileSync(join(dir, "manager", "raft", "wal", "old"), "");
    const { node } = agent();
    await node.resume();
    expect(node.info().state).to.equal("inactive");
    await node.init(InitRequest.fromPartial({}));
    expect(existsSync(join(dir, "manager", "raft", "wal", "old"))).to.equal(false);
  });

  it("joins with the role of its token, and leaves without a trace", async () => {
    const { node, sessions, events } = agent();
    const answer = await node.join(join_(cluster.tokens.worker));
    expect(answer).to.include({ clusterId: "c1", role: NodeRole.WORKER });
    expect(cluster.replicated.state.get("node", answer.nodeId)?.spec?.role).to.equal(NodeRole.WORKER);
    expect(sessions()[0]!.managers()).to.deep.equal([cluster.address]);
    await node.leave(false);
    expect(events).to.deep.equal([`member ${OWN}`, "tasks removed"]);
    expect(left()).to.deep.equal([]);
    expect(sessions()).to.deep.equal([]);
    expect((await refusal(node.leave(false))).issues[0]).to.include({ field: "node" });
  });

  it("a manager leaves only by force", async () => {
    const { node, events } = agent();
    await node.init(InitRequest.fromPartial({}));
    expect((await refusal(node.leave(false))).issues[0]!.remedy).to.contain("--force");
    expect(events).to.not.include("manager stops");
    await node.leave(true);
    expect(events).to.include("manager stops");
    expect(left()).to.deep.equal([]);
  });

  const badJoins: [string, () => JoinRequest, string, string][] = [
    ["no token", () => join_("SWMTKN-1-x"), "invalid", "token"],
    ["no manager", () => join_(cluster.tokens.worker, []), "invalid", "address"],
    [
      "a wrong secret",
      () => join_(cluster.tokens.worker.replace(/.$/, (c) => (c === "0" ? "1" : "0"))),
      "unauthenticated",
      "token",
    ],
    ["another cluster's token", () => join_(newJoinToken("0".repeat(64), seededRandom(1))), "unauthenticated", "token"],
    [
      "a manager that is not there",
      () => join_(cluster.tokens.worker, ["127.0.0.1:1"]),
      "unavailable",
      "remote address",
    ],
    [
      "an address of another host",
      () => ({ ...join_(cluster.tokens.worker), advertiseAddr: "192.0.2.99" }),
      "invalid",
      "advertise-addr",
    ],
  ];
  for (const [what, request, code, field] of badJoins)
    it(`a join with ${what} is refused and leaves nothing`, async () => {
      const { node } = agent();
      const nodes = cluster.replicated.state.count("node");
      const error = await refusal(node.join(request()));
      expect(error.code).to.equal(code);
      expect(error.issues[0]).to.have.property("field", field);
      expect(error.issues[0]!.remedy).to.not.equal("");
      expect(left()).to.deep.equal([]);
      expect(cluster.replicated.state.count("node")).to.equal(nodes);
    });

  it("asks the next manager when the first is not there", async () => {
    const { node } = agent();
    await node.join(join_(cluster.tokens.worker, ["127.0.0.1:1", cluster.address]));
    expect(node.info().role).to.equal(NodeRole.WORKER);
  });

  it("a manager that can't join the quorum leaves nothing, no registration either", async () => {
    const { node, failing, starts } = agent();
    failing.push(new TswarmError("unavailable", "no quorum"));
    const nodes = cluster.replicated.state.count("node");
    await refusal(node.join(join_(cluster.tokens.manager, [cluster.address, cluster.address])));
    expect(starts).to.have.length(1);
    expect(cluster.replicated.state.count("node")).to.equal(nodes);
    expect(left()).to.deep.equal([]);
  });

  it("a join that was cut off before its manager ran joins when the agent is back, and makes no cluster", async () => {
    const first = agent();
    await first.node.join(join_(cluster.tokens.manager));
    rmSync(join(dir, "manager"), { recursive: true });
    const second = agent();
    second.failing.push(new TswarmError("unavailable", "no quorum"), new TswarmError("unavailable", "no quorum"));
    await second.node.resume();
    expect(second.node.info()).to.include({ state: "error", error: "no quorum" });
    await second.clock.pass(30_000);
    expect(second.starts).to.deep.equal(Array(3).fill(`--join=${cluster.address}`));
    expect(second.node.info().error).to.equal("");
  });

  it("commands of a manager's node wait for its own manager, also while that can't start", async () => {
    const first = agent();
    await first.node.join(join_(cluster.tokens.manager));
    const second = agent();
    second.failing.push(new TswarmError("conflict", "the folder is in use by process 1"));
    await second.node.resume();
    const own = new Server();
    try {
      const found = second.node.control();
      await settle();
      await new Promise((resolve) =>
        own.bindAsync(`unix:${join(dir, "manager.sock")}`, ServerCredentials.createInsecure(), resolve),
      );
      // Another manager's host may be cut off unnoticed, and this node's own manager knows who leads.
      expect((await found).getChannel().getTarget()).to.equal(`unix:${join(dir, "manager.sock")}`);
    } finally {
      own.forceShutdown();
      await second.node.stop();
    }
  });

  it("recovers as the only manager: stops its own, starts it from the new log, and forgets the others", async () => {
    const { node, starts, events, recoveries, sessions } = agent();
    await node.init(InitRequest.fromPartial({}));
    const [old] = sessions();
    const others = ["127.0.0.1:1", `${OWN}:2377`, "127.0.0.1:2"];
    old!.onManagers(others, "", undefined);
    recoveries.push({ without: ["beta"], kept: "/kept", index: 7 });
    const answer = await node.recover({});
    expect(answer).to.deep.equal({ nodeId: node.info().nodeId, without: ["beta"], kept: "/kept", index: 7 });
    expect(events.slice(-2)).to.deep.equal(["manager stops", "recovery recover"]);
    expect(starts).to.have.length(2);
    expect(node.info().managerAddrs).to.deep.equal([`${OWN}:2377`]);
    // The old session may prefer a manager that is left out.
    expect(sessions()).to.have.length(1).and.not.include(old);
  });

  it("a recovery that fails leaves everything as it was, and the manager starts again", async () => {
    const { node, starts, recoveries, sessions } = agent();
    await node.init(InitRequest.fromPartial({}));
    sessions()[0]!.onManagers([`${OWN}:2377`, "127.0.0.1:1"], "", undefined);
    recoveries.push(new TswarmError("internal", "the log is damaged"));
    expect((await refusal(node.recover({}))).message).to.equal("the log is damaged");
    expect(starts).to.have.length(2);
    expect(node.info().managerAddrs).to.deep.equal([`${OWN}:2377`, "127.0.0.1:1"]);
    expect(sessions()).to.have.length(1);
  });

  const restoring = async function* (...data: string[]): AsyncGenerator<RestorePiece> {
    yield { piece: { $case: "start", value: { advertiseAddr: "", listenAddr: "", unlockKey: "" } } };
    for (const text of data) yield { piece: { $case: "data", value: Buffer.from(text) } };
  };

  it("restores a cluster: is its manager then, and a restart goes on with it", async () => {
    const { node, starts, events, recoveries, sessions } = agent();
    const identity = await cluster.identity("n9");
    recoveries.push(() => {
      expect(readFileSync(join(dir, "manager", "backup"), "utf8")).to.equal("first second");
      saveIdentity(join(dir, "identity"), identity);
      return { nodeId: "n9", clusterId: "c1", nodes: 3, services: 2, networks: 1, tasks: 0 };
    });
    const answer = await node.restore(restoring("first ", "second"));
    expect(answer).to.include({ nodeId: "n9", services: 2, advertiseAddr: `${OWN}:2377` });
    expect(events).to.include("recovery restore");
    expect([starts, sessions().length]).to.deep.equal([["--join="], 1]);
    expect(node.info()).to.include({ nodeId: "n9", role: NodeRole.MANAGER });
    expect((await refusal(node.restore(restoring("x")))).code).to.equal("conflict");
    const second = agent();
    await second.node.resume();
    expect(second.node.info()).to.include({ nodeId: "n9", role: NodeRole.MANAGER });
  });

  it("a restore that fails leaves nothing behind", async () => {
    const { node, recoveries } = agent();
    recoveries.push(new TswarmError("invalid", "the backup is damaged"));
    expect((await refusal(node.restore(restoring("x")))).message).to.equal("the backup is damaged");
    expect(left()).not.to.include.any.members(["manager", "node.json", "identity"]);
    const broken = (async function* () {
      yield* restoring("x");
      throw new TswarmError("cancelled", "cancelled");
    })();
    expect((await refusal(node.restore(broken))).code).to.equal("cancelled");
    expect(left()).not.to.include.any.members(["manager", "node.json", "identity"]);
    expect(node.info().state).to.equal("inactive");
  });

  it("a node whose managers are gone is told another of its cluster by a join; it stays the node that it is", async () => {
    const { node, sessions } = agent();
    const joined = await node.join(join_(cluster.tokens.worker));
    sessions()[0]!.onManagers(["127.0.0.1:1"], "", undefined);
    const [old] = sessions();
    expect((await refusal(node.join(join_(cluster.tokens.worker, ["127.0.0.1:1"])))).code).to.equal("unavailable");
    expect(node.info().managerAddrs).to.deep.equal(["127.0.0.1:1"]);
    const again = await node.join(join_(cluster.tokens.worker));
    expect(again.nodeId).to.equal(joined.nodeId);
    expect(node.info().managerAddrs).to.deep.equal([cluster.address]);
    expect(sessions()).to.have.length(1).and.not.include(old);
    const foreign = newJoinToken("f".repeat(64), seededRandom(1));
    expect((await refusal(node.join(join_(foreign)))).code).to.equal("conflict");
  });

  it("an agent that is started with another address moves its node, and only there", async () => {
    await agent().node.init(InitRequest.fromPartial({}));
    const same = agent(OWN);
    await same.node.resume();
    expect(same.node.info().advertiseAddr).to.equal(`${OWN}:2377`);
    const moved = agent(`${MOVED}:2388`);
    await moved.node.resume();
    expect(moved.listens).to.deep.equal(["--listen=0.0.0.0:2388", `--advertise=${MOVED}:2388`]);
    expect(moved.node.info()).to.deep.include({ advertiseAddr: `${MOVED}:2388`, managerAddrs: [`${MOVED}:2388`] });
    expect(moved.events).to.include(`member ${MOVED}`);
    const later = agent();
    await later.node.resume();
    expect(later.node.info().advertiseAddr).to.equal(`${MOVED}:2388`);
    expect((await refusal(agent("192.0.2.99").node.resume())).message).to.contain("not an address of this host");
  });

  it("a chosen listening address stays when the node moves", async () => {
    await agent().node.init(InitRequest.fromPartial({ listenAddr: "127.0.0.1:2400" }));
    const moved = agent(MOVED);
    await moved.node.resume();
    expect(moved.listens).to.deep.equal(["--listen=127.0.0.1:2400", `--advertise=${MOVED}:2377`]);
  });

  it("only a manager recovers", async () => {
    const { node, events } = agent();
    expect((await refusal(node.recover({}))).message).to.contain("not a manager");
    await node.join(join_(cluster.tokens.worker));
    expect((await refusal(node.recover({}))).message).to.contain("not a manager");
    expect(events).not.to.include("recovery recover");
  });

  it("one change of membership at a time", async () => {
    const { node } = agent();
    const joining = node.join(join_(cluster.tokens.worker));
    expect((await refusal(node.init(InitRequest.fromPartial({})))).issues[0]!.reason).to.contain("under way");
    await joining;
  });

  const told = (session: SessionOptions, managers: string[], role: NodeRole) =>
    session.onManagers(managers, managers[0]!, NodeSpec.fromPartial({ role }));
  const until = async (done: () => boolean) => {
    while (!done()) await settle();
  };

  const asMember = async () => {
    const it = agent();
    const { nodeId } = await it.node.join(join_(cluster.tokens.manager));
    const role = () => cluster.replicated.state.get("node", nodeId)?.spec?.role;
    told(it.sessions()[0]!, [cluster.address, `${OWN}:2377`], NodeRole.MANAGER);
    return { ...it, nodeId, role };
  };

  it("a manager leaves when the others have let it go", async () => {
    const { node, sessions, events, role } = await asMember();
    const leaving = node.leave(true);
    await until(() => role() === NodeRole.WORKER);
    told(sessions()[0]!, [cluster.address, `${OWN}:2377`], NodeRole.WORKER);
    await settle();
    expect(events).to.not.include("manager stops");
    told(sessions()[0]!, [cluster.address], NodeRole.WORKER);
    await leaving;
    expect(events).to.include("manager stops");
    expect(left()).to.deep.equal([]);
  });

  it("a manager that was demoted and promoted again before it knew joins the quorum anew", async () => {
    const { sessions, events, starts, locks, nodeId } = await asMember();
    const log = join(dir, "manager", "raft", "wal", "old");
    writeFileSync(log, "");
    locks[0]!.removed();
    await settle();
    // Who leads may not know it yet: as long as it is named among the managers it stays what it is.
    expect(events).to.not.include("manager stops");
    told(sessions()[0]!, [cluster.address], NodeRole.MANAGER);
    await until(() => starts.length === 2);
    expect(events).to.include("manager stops");
    expect(existsSync(log)).to.equal(false);
    expect(starts[1]).to.equal(`--join=${cluster.address}`);
    cluster.setMembers(nodeId);
    told(sessions()[0]!, [cluster.address], NodeRole.MANAGER);
    await settle();
    expect(starts).to.have.length(2);
  });

  it("a manager that was cut off while it joined is no member that was left out: it joins on", async () => {
    const before = agent();
    before.failing.push(new TswarmError("unavailable", "killed"));
    const { nodeId } = await before.node.join(join_(cluster.tokens.worker));
    await cluster.setRole(nodeId, NodeRole.MANAGER);
    told(before.sessions()[0]!, [cluster.address], NodeRole.MANAGER);
    await until(() => before.starts.length === 1);
    await before.node.stop();
    rmSync(join(dir, "manager", "raft", "wal"), { recursive: true });
    const { node, sessions, starts, events, failing } = agent();
    failing.push(new TswarmError("unavailable", "nobody answers"));
    const resumed = node.resume();
    await until(() => starts.length === 1);
    await resumed;
    told(sessions()[0]!, [cluster.address], NodeRole.MANAGER);
    await settle();
    await settle();
    expect(starts).to.have.length(1);
    expect(events.filter((e) => e === "manager stops")).to.have.length(1);
    await node.stop();
  });

  it("a manager that was removed while it was down asks the cluster, and joins the quorum anew", async () => {
    const before = await asMember();
    await before.node.stop();
    const { node, sessions, starts, events } = agent();
    await node.resume();
    await until(() => starts.length === 1);
    cluster.setMembers(before.nodeId);
    // Told late: it is a member.
    told(sessions()[0]!, [cluster.address], NodeRole.MANAGER);
    await settle();
    await settle();
    expect(events).to.not.include("manager stops");
    cluster.setMembers();
    told(sessions()[0]!, [cluster.address], NodeRole.MANAGER);
    await until(() => starts.length === 2);
    expect(events).to.include("manager stops");
    expect(starts[1]).to.equal(`--join=${cluster.address}`);
  });

  it("a manager leaves also when the others don't let it go, or don't let it ask", async () => {
    const { node, clock, role } = await asMember();
    const leaving = node.leave(true);
    await until(() => role() === NodeRole.WORKER);
    await settle();
    expect(left()).to.not.deep.equal([]);
    await clock.pass(10_000);
    await leaving;
    expect(left()).to.deep.equal([]);
    const other = await asMember();
    await cluster.replicated.write((tx) => tx.delete("node", other.nodeId));
    await other.node.leave(true);
    expect(left()).to.deep.equal([]);
  });

  it("a promoted node becomes a manager, a demoted one a worker once the others have let it go", async () => {
    const { node, sessions, starts, events } = agent();
    const { nodeId } = await node.join(join_(cluster.tokens.worker));
    await cluster.setRole(nodeId, NodeRole.MANAGER);
    told(sessions()[0]!, [cluster.address], NodeRole.MANAGER);
    await until(() => starts.length > 0);
    expect(node.info().role).to.equal(NodeRole.MANAGER);
    expect(starts).to.deep.equal([`--join=${cluster.address}`]);
    expect(sessions()).to.have.length(1);
    // Told before it was one itself: if the others go now, it has still somebody to ask.
    await until(() => sessions()[0]!.managers().includes(`${OWN}:2377`));
    expect(sessions()[0]!.managers()).to.deep.equal([cluster.address, `${OWN}:2377`]);

    await cluster.setRole(nodeId, NodeRole.WORKER);
    told(sessions()[0]!, [cluster.address, `${OWN}:2377`], NodeRole.WORKER);
    await settle();
    expect(events).to.not.include("manager stops");
    told(sessions()[0]!, [cluster.address], NodeRole.WORKER);
    await until(() => node.info().role === NodeRole.WORKER);
    expect(events).to.include("manager stops");
    expect(existsSync(join(dir, "manager"))).to.equal(false);
    expect(sessions()).to.have.length(1);
    expect(sessions()[0]!.managers()).to.deep.equal([cluster.address]);
  });

  it("a node that was removed stops its tasks and says so", async () => {
    const { node, sessions, events } = agent();
    await node.join(join_(cluster.tokens.worker));
    sessions()[0]!.onRemoved("it was removed");
    await settle();
    expect(events).to.include("tasks removed");
    expect(node.info()).to.include({ state: "error" });
    expect(node.info().error).to.contain("tsctl cluster leave");
    await node.leave(true);
    expect(node.info().state).to.equal("inactive");
  });

  describe("that is locked", () => {
    const key = newUnlockKey(seededRandom(8));
    const file = () => readFileSync(join(dir, "identity", "identity.json"), "utf8");
    const keyDigest = () => digestOfKey(JSON.parse(file()).keyPem);
    /** A manager whose agent has ended, and its own key. */
    const lockedManager = async () => {
      const { node, locks } = agent();
      await node.init(InitRequest.fromPartial({}));
      expect(locks[0]!.unlockKey()).to.equal("");
      expect(locks[0]!.keep({ unlockKey: key, keyDigest: "of another key" })).to.equal(false);
      expect(file()).to.include("PRIVATE KEY");
      expect(locks[0]!.keep({ unlockKey: key, keyDigest: keyDigest() })).to.equal(true);
      expect(file()).to.not.include("PRIVATE KEY");
      expect(locks[0]!.unlockKey()).to.equal(key);
      await node.stop();
    };

    it("starts neither session nor manager, but is the member that it was; the key starts both", async () => {
      await lockedManager();
      const { node, events, starts, locks, sessions } = agent();
      await node.resume();
      expect([events, starts, sessions().length]).to.deep.equal([[`member ${OWN}`], [], 0]);
      expect(node.info()).to.include({ state: "locked", role: NodeRole.MANAGER, advertiseAddr: `${OWN}:2377` });
      expect(node.info().error).to.contain("tsctl cluster unlock");
      expect((await refusal(node.control())).message).to.contain("the cluster is locked. Unlock it with");
      expect((await refusal(node.init(InitRequest.fromPartial({})))).message).to.contain("already part of a cluster");
      const before = file();
      expect((await refusal(node.unlock(newUnlockKey(seededRandom(9))))).code).to.equal("forbidden");
      expect((await refusal(node.unlock("TSWKEY-1-short"))).code).to.equal("invalid");
      expect([file(), node.info().state, starts.length]).to.deep.equal([before, "locked", 0]);
      await node.unlock(` ${key}\n`);
      expect([node.info().state, starts.length, sessions().length]).to.deep.equal(["pending", 1, 1]);
      expect(locks[0]!.unlockKey()).to.equal(key);
      expect((await refusal(node.unlock(key))).message).to.contain("it is not locked");
      // Autolock is off again.
      const { keyPem } = loadIdentity(join(dir, "identity"), key)!;
      expect(locks[0]!.keep({ unlockKey: "", keyDigest: digestOfKey(keyPem) })).to.equal(true);
      expect(JSON.parse(file()).keyPem).to.equal(keyPem);
    });

    it("leaves by force without the key", async () => {
      await lockedManager();
      const { node, events } = agent();
      await node.resume();
      expect((await refusal(node.leave(false))).message).to.contain("it is a manager");
      const leaving = node.leave(true);
      expect((await refusal(node.unlock(key))).message).to.contain("under way");
      await leaving;
      expect(events).to.include("tasks removed");
      expect(left()).to.deep.equal([]);
      expect(node.info().state).to.equal("inactive");
    });
  });

  it("renews its certificate in time: new key on disk, new session, manager told", async () => {
    const { node, clock, sessions, events } = agent();
    await node.join(join_(cluster.tokens.manager));
    const identity = () => JSON.parse(readFileSync(join(dir, "identity", "identity.json"), "utf8"));
    const before = identity();
    const [session] = sessions();
    const { issuedAt, notAfter } = readCertificate(before.certificatePem);
    await clock.pass((notAfter - issuedAt) * 0.4);
    expect(identity()).to.deep.equal(before);
    const passing = clock.pass((notAfter - issuedAt) * 0.4);
    await until(() => events.includes("manager reloads"));
    await passing;
    expect(identity().keyPem).to.not.equal(before.keyPem);
    // Its log may still be wrapped with the former one.
    expect(identity().formerKeyPems).to.deep.equal([before.keyPem]);
    expect(readCertificate(identity().certificatePem)).to.include({ nodeId: node.info().nodeId, role: "manager" });
    expect(sessions()).to.have.length(1);
    expect(sessions()[0]).to.not.equal(session);
    await node.stop();
  });
});
