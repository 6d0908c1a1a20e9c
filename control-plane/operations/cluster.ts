import { refuse } from "#base/errors.ts";
import { allocateSubnets } from "#control-plane/allocator/subnets.ts";
import type { Tx, WriteContext } from "#control-plane/state/types.ts";
import { Cluster, type ClusterSpec, Network, NetworkSpec } from "#proto/gen/types.ts";

/** Docker's; large, because the tasks of all nodes share it. */
const BRIDGE_SUBNET = "172.17.0.0/16";

export type InitCluster = {
  readonly id: string;
  readonly spec: ClusterSpec;
  readonly caCertificatePem: Buffer;
  readonly caKeyPem: Buffer;
  readonly joinTokenWorker: string;
  readonly joinTokenManager: string;
};

/** Swarm's values; VXLAN's port is IANA's. */
const CLUSTER_DEFAULTS = {
  heartbeatMs: 5_000,
  taskHistory: 5,
  dataPathPort: 4789,
  certValidityMs: 90 * 24 * 3600 * 1000,
} as const;

const PREDEFINED = ["host", "none", "bridge"] as const;

/** The cluster object and the networks that every cluster has. Refused when there is a cluster already. */
export const initCluster = (tx: Tx, ctx: WriteContext, input: InitCluster): Cluster => {
  if (tx.cluster() !== undefined)
    throw refuse(
      "conflict",
      "cluster",
      "it is initialised already",
      "Leave the cluster first (tsctl cluster leave --force)",
    );
  const { spec } = input;
  const cluster = Cluster.fromPartial({
    ...input,
    spec: {
      ...spec,
      name: spec.name || "default",
      heartbeatMs: spec.heartbeatMs || CLUSTER_DEFAULTS.heartbeatMs,
      taskHistory: spec.taskHistory || CLUSTER_DEFAULTS.taskHistory,
      dataPathPort: spec.dataPathPort || CLUSTER_DEFAULTS.dataPathPort,
      certValidityMs: spec.certValidityMs || CLUSTER_DEFAULTS.certValidityMs,
    },
  });
  tx.put("cluster", cluster);
  for (const driver of PREDEFINED) {
    const networkSpec = NetworkSpec.fromPartial({
      annotations: { name: driver },
      driver,
      ipv4: driver === "bridge",
      ipam: driver === "bridge" ? [{ subnet: BRIDGE_SUBNET }] : [],
    });
    const subnets = allocateSubnets(tx, networkSpec);
    tx.put("network", Network.fromPartial({ id: ctx.newId(), spec: networkSpec, subnets, predefined: true }));
  }
  return cluster;
};

/** Puts new tokens in place of those that are given: the old ones admit nobody any more; nodes that have joined are not touched. */
export const rotateTokens = (
  tx: Tx,
  _ctx: WriteContext,
  tokens: { readonly worker?: string; readonly manager?: string },
): Cluster => {
  const cluster = tx.cluster();
  if (cluster === undefined)
    throw refuse("not_found", "cluster", "there is no cluster yet", "Make one with `tsctl cluster init`");
  const next = {
    ...cluster,
    joinTokenWorker: tokens.worker ?? cluster.joinTokenWorker,
    joinTokenManager: tokens.manager ?? cluster.joinTokenManager,
  };
  tx.put("cluster", next);
  return next;
};
