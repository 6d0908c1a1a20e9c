import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { TswarmError } from "#base/errors.ts";
import { silentLogger } from "#base/log.ts";
import { createCa, type KeyAndCertificate, readCertificate } from "#base/node/pki.ts";
import { realClock, systemRandom } from "#base/node/system.ts";
import { encodeBackup } from "#control-plane/backup/format.ts";
import { createReplicatedState } from "#control-plane/manager/replicated-state.ts";
import { openRaftLog, type RaftLog, readRaftIdentity } from "#control-plane/raft-host/raft-log.ts";
import { testKeys } from "#control-plane/raft-host/test-keys.ts";
import { CLUSTER, context, oldState } from "#control-plane/recovery/old-manager.ts";
import { INDEX_GAP, rewrite } from "#control-plane/recovery/only-manager.ts";
import { restoreBackup } from "#control-plane/recovery/restore.ts";
import { createState } from "#control-plane/state/state.ts";
import { NodeRole, NodeState, Task } from "#proto/gen/types.ts";

const ADDRESSES: Readonly<Record<string, string>> = { n1: "10.0.0.1", n2: "10.0.0.2", n3: "10.0.0.3", w1: "10.0.0.4" };

describe("restore of a backup", () => {
  let dataDir: string;
  let ca: KeyAndCertificate;
  before(async () => {
    ca = await createCa(Date.now());
  });
  beforeEach(() => {
    dataDir = mkdtempSync(join(tmpdir(), "restore-"));
  });
  const opened: RaftLog[] = [];
  afterEach(() => {
    for (const log of opened.splice(0)) log.abandon();
    rmSync(dataDir, { recursive: true, force: true });
  });

  /** With a real CA; n1 had the address 10.0.0.1, and w1 runs a task. */
  const backup = (): Buffer => {
    const state = oldState();
    rewrite(state, 11, context, (tx) => {
      const pem = { caKeyPem: Buffer.from(ca.keyPem), caCertificatePem: Buffer.from(ca.certificatePem) };
      tx.put("cluster", { ...tx.cluster()!, ...pem });
      for (const node of [...tx.all("node")]) {
        const status = { message: "", since: 1, state: NodeState.NODE_READY, addr: ADDRESSES[node.id]! };
        tx.put("node", { ...node, status });
      }
      tx.put("task", Task.fromPartial({ id: "t1", nodeId: "w1", serviceId: "committed-id", slot: 1 }));
    });
    const header = { clusterId: CLUSTER, createdAt: 1, index: 11, version: "0.1.0", raftIds: [1, 2, 3, 1_002] };
    return Buffer.concat([...encodeBackup(header, state.snapshot())]);
  };
  const restore = async (bytes: Uint8Array, addr = "10.0.0.9") => {
    const path = join(dataDir, "backup");
    writeFileSync(path, bytes);
    return restoreBackup({
      ...{ backup: path, unlockKey: "", dataDir, nodeId: "n9", hostname: "fresh", addr, advertise: `${addr}:2377` },
      ...{ keysOf: () => testKeys(1), context: { ...context, now: Date.now() }, logger: silentLogger },
    });
  };
  const open = async () => {
    const dir = join(dataDir, "raft");
    const { raftId } = readRaftIdentity(dir)!;
    const replicated = createReplicatedState(createState(), realClock, systemRandom);
    const log = await openRaftLog({
      ...{ dir, raftId, clusterId: CLUSTER, beginning: null, clock: realClock, random: systemRandom },
      ...{ logger: silentLogger, tickMs: 1, segmentBytes: 64 << 10, keys: testKeys(2) },
      stateMachine: replicated.machine,
      transport: () => ({
        ...{ send: () => {}, sendSnapshot: async () => {}, setPeers: () => {}, arrived: () => {}, close: () => {} },
      }),
      onFatal: (error) => {
        throw error;
      },
    });
    opened.push(log);
    replicated.attach(log);
    await new Promise<void>((resolve) => log.onStatus((s) => s.isLeader && resolve()));
    await log.readBarrier();
    return { log, replicated };
  };

  it("is the same cluster with this node as its only manager; versions go on above all that were", async () => {
    const { identity, contents } = await restore(backup());
    expect(contents).to.include({ clusterId: CLUSTER, nodes: 4, services: 2, tasks: 1 });
    expect(identity.caPem).to.equal(ca.certificatePem);
    expect(readCertificate(identity.certificatePem)).to.include({ nodeId: "n9", clusterId: CLUSTER, role: "manager" });
    const { log, replicated } = await open();
    const { state } = replicated;
    expect(state.cluster()?.joinTokenWorker).to.equal("w");
    expect([...state.all("node")].map((n) => [n.id, n.spec?.role])).to.have.deep.members([
      ["n1", NodeRole.WORKER],
      ["n2", NodeRole.WORKER],
      ["n3", NodeRole.WORKER],
      ["n9", NodeRole.MANAGER],
      ["w1", NodeRole.WORKER],
    ]);
    // What is as it was has its old version: nothing about it is new to anybody.
    expect(state.get("task", "t1")?.meta?.version).to.equal(11);
    expect(state.get("node", "w1")?.status?.state).to.equal(NodeState.NODE_READY);
    const { index } = await replicated.write((tx) => tx.delete("service", "acknowledged-id"));
    expect(index).to.be.greaterThan(INDEX_GAP + 11);
    expect(log.status().members).to.have.length(1);
    expect(log.status().raftId).to.equal(2_002);
    expect([1, 3, 1_002].map((id) => log.host.isRemoved(id))).to.deep.equal([true, true, true]);
    await log.stop();
  });

  it("on the host that was a manager, its former node is gone", async () => {
    await restore(backup(), "10.0.0.1");
    const { log, replicated } = await open();
    expect([...replicated.state.all("node")].map((n) => n.id)).to.have.members(["n2", "n3", "n9", "w1"]);
    await log.stop();
  });

  it("a damaged backup leaves nothing behind", async () => {
    const bytes = backup();
    bytes[bytes.length >> 1]! ^= 1;
    const error = await restore(bytes).catch((e) => TswarmError.from(e));
    expect((error as TswarmError).message).to.contain("damaged");
    expect(readRaftIdentity(join(dataDir, "raft"))).to.equal(null);
  });
});
