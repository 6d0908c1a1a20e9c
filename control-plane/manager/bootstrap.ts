// The first manager of a new cluster finds in its folder what the agent made at `tsctl cluster init`: the CA above all.
import { existsSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { reading, TswarmError } from "#base/errors.ts";
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

const TEXTS = [
  ...["clusterId", "nodeId", "hostname", "addr", "caKeyPem", "caCertificatePem"],
  ...["joinTokenWorker", "joinTokenManager"],
] as const;

const read = (file: string): Omit<Bootstrap, "spec"> & { spec: ClusterSpec } => {
  const found: Partial<Bootstrap> | null = reading("internal", file, () => JSON.parse(readFileSync(file, "utf8")));
  const missing = TEXTS.find((name) => typeof (found as Record<string, unknown> | null)?.[name] !== "string");
  if (missing !== undefined) throw new TswarmError("internal", `${file} is damaged: it has no ${missing}`);
  // Encoded once: values that are none of their kind show here and not when the command is made.
  const spec = reading("internal", file, () =>
    ClusterSpec.decode(ClusterSpec.encode(ClusterSpec.fromPartial(found!.spec ?? {})).finish()),
  );
  return { ...(found as Bootstrap), spec };
};

/** This manager makes a new cluster, or was about to. */
export const hasBootstrap = (dataDir: string): boolean => existsSync(path(dataDir));

/** As leader of an empty log: makes the cluster, then removes the file, which holds the CA's key. */
export const bootstrapCluster = async (dataDir: string, replicated: ReplicatedState): Promise<void> => {
  if (replicated.state.cluster() === undefined) {
    const b = read(path(dataDir));
    await replicated.write((tx, ctx) => {
      initCluster(tx, ctx, {
        id: b.clusterId,
        spec: b.spec,
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
