import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { TswarmError } from "#base/errors.ts";
import { silentLogger } from "#base/log.ts";
import { realClock, systemRandom } from "#base/node/system.ts";
import { newUnlockKey } from "#base/unlock-key.ts";
import { createReplicatedState } from "#control-plane/manager/replicated-state.ts";
import { createKeyFile, openKeyFile, unlockWrappingKey } from "#control-plane/raft-host/key-file.ts";
import type { DataKeys } from "#control-plane/raft-host/keys.ts";
import { nodeDisk } from "#control-plane/raft-host/node-disk.ts";
import { openRaftLog, type RaftLog, readRaftIdentity } from "#control-plane/raft-host/raft-log.ts";
import { testKeys } from "#control-plane/raft-host/test-keys.ts";
import { settleFolders } from "#control-plane/recovery/folder-swap.ts";
import { CLUSTER, context, makeOldManager } from "#control-plane/recovery/old-manager.ts";
import { INDEX_GAP } from "#control-plane/recovery/only-manager.ts";
import { recoverLog } from "#control-plane/recovery/recover.ts";
import { createState } from "#control-plane/state/state.ts";
import { NodeRole } from "#proto/gen/types.ts";

describe("recovery of a manager whose quorum is lost", () => {
  let dataDir: string;
  let lives = 100;
  beforeEach(() => {
    dataDir = mkdtempSync(join(tmpdir(), "recover-"));
  });
  const opened: RaftLog[] = [];
  afterEach(() => {
    for (const log of opened.splice(0)) log.abandon();
    rmSync(dataDir, { recursive: true, force: true });
  });

  const recover = (nodeId = "n3", keysOf: (dir: string) => DataKeys = () => testKeys(lives)) =>
    recoverLog({
      ...{ dataDir, clusterId: CLUSTER, nodeId, advertise: "10.0.0.9:2377", logger: silentLogger },
      context: { ...context, now: context.now + ++lives },
      keysOf,
    });

  /** The log as the manager opens it; it leads at once, since nobody else votes. */
  const open = async (keysOf: (dir: string) => DataKeys = () => testKeys(++lives)) => {
    const dir = join(dataDir, "raft");
    const { raftId } = readRaftIdentity(dir)!;
    const replicated = createReplicatedState(createState(), realClock, systemRandom);
    const log = await openRaftLog({
      ...{ dir, raftId, clusterId: CLUSTER, beginning: null, clock: realClock, random: systemRandom },
      ...{ logger: silentLogger, tickMs: 1, segmentBytes: 64 << 10, keys: keysOf(dir) },
      stateMachine: replicated.machine,
      transport: () => ({
        send: () => {},
        sendSnapshot: async () => {},
        setPeers: () => {},
        arrived: () => {},
        close: () => {},
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
  const refusal = (work: Promise<unknown>): Promise<TswarmError> =>
    work.then(
      () => expect.fail("was not refused"),
      (error) => TswarmError.from(error),
    );

  for (const snapshotAt of [0, 6, 10])
    it(`goes on alone from ${snapshotAt === 0 ? "its log" : `a snapshot at ${snapshotAt} and its log`}, with all that it knows`, async () => {
      await makeOldManager(dataDir, { snapshotAt });
      const { without, kept, index } = await recover();
      expect(without).to.have.members(["host-n1", "host-n2"]);
      expect(index).to.equal(10);
      const { log, replicated } = await open();
      const { state } = replicated;
      const status = log.status();
      expect(status.members).to.have.length(1);
      expect(status.members[0]).to.include({ nodeId: "n3", addr: "10.0.0.9:2377", voter: true, leader: true });
      expect(status.term).to.be.greaterThan(7);
      expect(state.cluster()?.caKeyPem.toString()).to.equal("key");
      expect([...state.all("service")].map((s) => s.id)).to.have.members(["committed-id", "acknowledged-id"]);
      expect([...state.all("node")].map((n) => [n.id, n.spec?.role])).to.have.deep.members([
        ["n1", NodeRole.WORKER],
        ["n2", NodeRole.WORKER],
        ["n3", NodeRole.MANAGER],
        ["w1", NodeRole.WORKER],
      ]);
      // Ids of former members, and of those that this one never heard of, are not used again.
      expect(status.raftId).to.equal(1_003);
      expect(await log.addMember("n4", "10.0.0.4:2377")).to.equal(1_004);
      expect([1, 2, 3].map((id) => log.host.isRemoved(id))).to.deep.equal([true, true, true]);
      await replicated.write((tx) => tx.delete("service", "committed-id"));
      // What others committed and this log does not know had the versions right behind it.
      expect(state.index).to.be.greaterThan(INDEX_GAP);
      await log.stop();
      expect(readRaftIdentity(kept)).to.include({ raftId: 3 });
      expect(existsSync(join(kept, "lock"))).to.equal(false);
    });

  it("can be repeated, and what it wrote is read again after a restart", async () => {
    await makeOldManager(dataDir);
    await recover();
    const first = await open();
    await first.log.stop();
    const again = await recover();
    expect(again.without).to.deep.equal([]);
    const { log, replicated } = await open();
    expect(replicated.state.get("service", "acknowledged-id")).not.to.equal(undefined);
    expect(log.status().raftId).to.equal(2_003);
    await log.stop();
  });

  it("a locked manager's files stay locked: the key that opened the old ones opens the new ones, no other", async () => {
    const by = unlockWrappingKey(newUnlockKey(systemRandom));
    await makeOldManager(dataDir, {}, (dir) => createKeyFile(nodeDisk, dir, by));
    const keysOf = (dir: string) => openKeyFile(nodeDisk, dir, [by]);
    const { kept } = await recover("n3", keysOf);
    for (const dir of [kept, join(dataDir, "raft")]) {
      const others = [unlockWrappingKey(newUnlockKey(systemRandom))];
      expect(() => openKeyFile(nodeDisk, dir, others))
        .to.throw(TswarmError)
        .with.property("code", "forbidden");
    }
    const { log, replicated } = await open(keysOf);
    expect(replicated.state.get("service", "acknowledged-id")).not.to.equal(undefined);
    await log.stop();
  });

  it("refuses without a log, in the cluster of others, before the cluster is known, while the manager runs, and a damaged log", async () => {
    expect((await refusal(recover())).code).to.equal("not_found");
    await makeOldManager(dataDir, { commands: 0 });
    expect((await refusal(recover())).message).to.contain("does not hold it yet");
    rmSync(join(dataDir, "raft"), { recursive: true });
    await makeOldManager(dataDir);
    expect((await refusal(recover("n9"))).message).to.contain("n9 is not a node of this cluster");

    const unlock = nodeDisk.lock(join(dataDir, "raft"));
    expect((await refusal(recover())).message).to.contain("in use");
    unlock();

    const wal = join(dataDir, "raft/wal");
    const file = join(wal, readdirSync(wal)[0]!);
    const bytes = readFileSync(file);
    bytes[bytes.indexOf("command1")]! ^= 1;
    const sealed = bytes.indexOf("command1") < 0;
    if (sealed) bytes[200]! ^= 1;
    writeFileSync(file, bytes);
    expect((await refusal(recover())).message).to.contain("damaged");
    // Nothing was begun.
    expect(readdirSync(dataDir)).to.deep.equal(["raft"]);
  });

  it("a crash at any point leaves the old log or the new one, never both and never none", async () => {
    await makeOldManager(dataDir);
    await recover();
    const kept = readdirSync(dataDir).find((n) => n.startsWith("raft.before-recover-"))!;
    const at = (name: string) => join(dataDir, name);
    const member = () => readRaftIdentity(at("raft"))?.raftId;
    // The steps of the swap backwards.
    renameSync(at("raft"), at("raft.next"));
    renameSync(at(kept), at("raft"));
    settleFolders(dataDir);
    expect([member(), readdirSync(dataDir)]).to.deep.equal([3, ["raft"]]);

    mkdirSync(at("raft.part"));
    writeFileSync(at("raft.part/wal"), "half");
    settleFolders(dataDir);
    expect([member(), readdirSync(dataDir)]).to.deep.equal([3, ["raft"]]);

    await recover();
    renameSync(at("raft"), at("raft.next"));
    settleFolders(dataDir);
    expect(member()).to.equal(1_003);
    expect(existsSync(at("raft.next"))).to.equal(false);
    settleFolders(dataDir);
    expect(member()).to.equal(1_003);
  });
});
