import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { TswarmError } from "#base/errors.ts";
import { seededRandom } from "#base/random.ts";
import { createManualClock } from "#control-plane/controllers/manual-clock.ts";
import { createMemoryLog } from "#control-plane/log/memory-log.ts";
import { bootstrapCluster, hasBootstrap } from "#control-plane/manager/bootstrap.ts";
import { createReplicatedState } from "#control-plane/manager/replicated-state.ts";
import { createState } from "#control-plane/state/state.ts";
import { NodeRole } from "#proto/gen/types.ts";

describe("first manager of a cluster", () => {
  let dir: string;
  const path = () => join(dir, "bootstrap.json");
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), "bootstrap-"));
    const pem = { caKeyPem: "key", caCertificatePem: "certificate" };
    const tokens = { joinTokenWorker: "w", joinTokenManager: "m", unlockKey: "u" };
    const node = { nodeId: "n1", hostname: "alpha", addr: "192.0.2.1" };
    writeFileSync(path(), JSON.stringify({ clusterId: "c1", ...node, ...pem, ...tokens, spec: { name: "shop" } }));
  });
  afterEach(() => rmSync(dir, { recursive: true }));
  const setup = () => {
    const replicated = createReplicatedState(createState(), createManualClock(), seededRandom(1));
    const log = createMemoryLog(replicated.machine);
    replicated.attach(log);
    return { replicated, log };
  };

  it("makes the cluster with itself as manager, and the CA's key leaves the disk", async () => {
    const { replicated } = setup();
    expect(hasBootstrap(dir)).to.equal(true);
    await bootstrapCluster(dir, replicated);
    const cluster = replicated.state.cluster()!;
    expect([cluster.id, cluster.caKeyPem.toString(), cluster.joinTokenManager]).to.deep.equal(["c1", "key", "m"]);
    expect([cluster.unlockKey, cluster.lockVersion]).to.deep.equal(["u", 1]);
    expect(replicated.state.get("node", "n1")?.spec?.role).to.equal(NodeRole.MANAGER);
    expect(existsSync(path())).to.equal(false);
    await bootstrapCluster(dir, replicated);
    expect(replicated.state.index).to.equal(1);
  });

  for (const when of ["before", "after"] as const)
    it(`cut off ${when} the commit it is repeated, and makes one cluster`, async () => {
      const { replicated, log } = setup();
      log.failNext(when, new TswarmError("unknown_outcome", "leadership was lost"));
      const error = await bootstrapCluster(dir, replicated).catch((e: unknown) => e);
      expect(error).to.have.property("code", "unknown_outcome");
      expect(hasBootstrap(dir)).to.equal(true);
      await bootstrapCluster(dir, replicated);
      expect(log.entries).to.have.length(1);
      expect(hasBootstrap(dir)).to.equal(false);
    });
});
