// The process as the agent starts it, to its end and killed on the way.
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect } from "chai";
import { silentLogger } from "#base/log.ts";
import { loadIdentity, type NodeIdentity, saveIdentity } from "#base/node/identity-files.ts";
import { createCa, createKeyAndRequest, issueCertificate } from "#base/node/pki.ts";
import { openMemberKeys } from "#control-plane/manager/member-keys.ts";
import { openMemberFiles } from "#control-plane/raft-host/member-files.ts";
import { nodeDisk } from "#control-plane/raft-host/node-disk.ts";
import { readRaftIdentity } from "#control-plane/raft-host/raft-log.ts";
import { settleFolders } from "#control-plane/recovery/folder-swap.ts";
import { CLUSTER, makeOldManager } from "#control-plane/recovery/old-manager.ts";
import { replay } from "#control-plane/recovery/replay.ts";

const ENTRY = fileURLToPath(import.meta.resolve("#control-plane/recovery/main.ts"));

describe("recovery process", function () {
  this.timeout(30_000);
  let dir: string;
  let identity: NodeIdentity;
  before(async () => {
    const ca = await createCa(Date.now());
    const { keyPem, csrPem } = await createKeyAndRequest();
    const subject = { nodeId: "n3", clusterId: CLUSTER, role: "manager" as const };
    const certificatePem = await issueCertificate(ca, csrPem, subject, Date.now(), 3_600_000);
    identity = { keyPem, certificatePem, caPem: ca.certificatePem };
  });
  beforeEach(async () => {
    dir = mkdtempSync(join(tmpdir(), "recovery-"));
    saveIdentity(join(dir, "identity"), identity);
    await makeOldManager(dataDir(), { snapshotAt: 6 }, (raft) => openMemberKeys(raft, identity));
  });
  afterEach(() => rmSync(dir, { recursive: true, force: true }));
  const dataDir = () => join(dir, "manager");

  /** @param killWhen looked at all the time; true: the process is killed at this moment */
  const run = async (request: object, killWhen = () => false): Promise<{ said: string; killed: boolean }> => {
    const child = spawn(process.execPath, [...process.execArgv, ENTRY], { stdio: ["pipe", "pipe", "ignore"] });
    let said = "";
    let killed = false;
    let ended = false;
    child.stdout.on("data", (data: Buffer) => {
      said += data.toString();
    });
    const over = new Promise<void>((resolve) => child.once("close", () => resolve()));
    void over.then(() => {
      ended = true;
    });
    child.stdin.end(
      JSON.stringify({
        dataDir: dataDir(),
        identityDir: join(dir, "identity"),
        advertise: "a:1",
        unlockKey: "",
        ...request,
      }),
    );
    while (!ended && !killed) {
      if (killWhen()) {
        killed = true;
        child.kill("SIGKILL");
      }
      await new Promise((resolve) => setImmediate(resolve));
    }
    await over;
    return { said, killed };
  };
  /** The member whose log it is, and what it comes to. */
  const member = async () => {
    settleFolders(dataDir());
    const raft = join(dataDir(), "raft");
    const { raftId } = readRaftIdentity(raft)!;
    const keys = openMemberKeys(raft, loadIdentity(join(dir, "identity"))!);
    const files = await openMemberFiles({
      ...{ dir: raft, disk: nodeDisk, logger: silentLogger, segmentBytes: 64 << 10, raftId, clusterId: CLUSTER, keys },
      beginning: null,
    });
    const { state } = await replay(nodeDisk, files);
    await files.wal.close();
    files.unlock();
    return { raftId, services: [...state.all("service")].map((s) => s.id) };
  };

  it("recovers, and says what it did in one line", async () => {
    const { said } = await run({ kind: "recover" });
    const { done } = JSON.parse(said);
    expect(done.index).to.equal(10);
    expect(done.without).to.have.members(["host-n1", "host-n2"]);
    expect(existsSync(done.kept)).to.equal(true);
    expect(await member()).to.deep.equal({ raftId: 1_003, services: ["committed-id", "acknowledged-id"] });
  });

  it("says why it did not", async () => {
    rmSync(join(dataDir(), "raft"), { recursive: true });
    const { failed } = JSON.parse((await run({ kind: "recover" })).said);
    expect(failed.code).to.equal("not_found");
  });

  const has = (...path: string[]) => existsSync(join(dataDir(), ...path));
  const snapshots = () => (has("raft.part", "snap") ? readdirSync(join(dataDir(), "raft.part", "snap")) : []);
  for (const [what, when] of [
    ["the snapshot is written", () => snapshots().some((name) => name.endsWith(".snap"))],
    ["the log is begun", () => has("raft.part", "wal")],
    ["all is written", () => has("raft.next")],
  ] as const)
    it(`killed when ${what}: it is the old log or the new one, whole`, async () => {
      await run({ kind: "recover" }, () => when());
      const { raftId, services } = await member();
      expect(raftId).to.be.oneOf([3, 1_003]);
      expect(services).to.deep.equal(["committed-id", "acknowledged-id"]);
    });
});
