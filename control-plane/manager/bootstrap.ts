// The first manager of a new cluster finds in its folder what the agent made at `tsctl cluster init`: the CA above all.
import { existsSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { ReplicatedState } from "#control-plane/manager/replicated-state.ts";
import { initCluster, registerNode } from "#control-plane/operations/index.ts";
import { ClusterSpec, NodeRole } from "#proto/gen/types.ts";

/** What the agent writes, as JSON with mode 0600. */
export type Bootstrap = {
  readonly clusterId: string;
  readonly nodeId: string;
  readonly hostname: string;
  readonly addr: string;
  readonly caKeyPem: string;
  readonly caCertificatePem: string;
  readonly joinTokenWorker: string;
  readonly joinTokenManager: string;
  /** Of a cluster that begins with autolock; else empty. */
  readonly unlockKey: string;
  readonly spec: Partial<ClusterSpec>;
};

const path = (dataDir: string): string => join(dataDir, "bootstrap.json");

/** This manager makes a new cluster, or was about to. */
export const hasBootstrap = (dataDir: string): boolean => existsSync(path(dataDir));

/** As leader of an empty log: makes the cluster, then removes the file, which holds the CA's key. */
export const bootstrapCluster = async (dataDir: string, replicated: ReplicatedState): Promise<void> => {
  if (replicated.state.cluster() === undefined) {
    const b: Bootstrap = JSON.parse(readFileSync(path(dataDir), "utf8"));
    await replicated.write((tx, ctx) => {
      initCluster(tx, ctx, {
        id: b.clusterId,
        spec: ClusterSpec.fromPartial(b.spec),
        caCertificatePem: Buffer.from(b.caCertificatePem),
        caKeyPem: Buffer.from(b.caKeyPem),
        joinTokenWorker: b.joinTokenWorker,
        joinTokenManager: b.joinTokenManager,
        unlockKey: b.unlockKey,
      });
      registerNode(tx, ctx, { id: b.nodeId, hostname: b.hostname, role: NodeRole.MANAGER, addr: b.addr });
    });
  }
  rmSync(path(dataDir), { force: true });
};
