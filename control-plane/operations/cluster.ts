import { refuse } from "#base/errors.ts";
import { allocateVni, DEFAULT_POOLS } from "#control-plane/allocator/subnets.ts";
import { checkVersion } from "#control-plane/operations/nodes.ts";
import type { ReadTx, Tx, WriteContext } from "#control-plane/state/types.ts";
import { uniqueLocalPool } from "#net/ipam/pools.ts";
import { Cluster, ClusterSpec, Network, NetworkSpec } from "#proto/gen/types.ts";

export type InitCluster = {
  readonly id: string;
  readonly spec: ClusterSpec;
  readonly caCertificatePem: Buffer;
  readonly caKeyPem: Buffer;
  readonly joinTokenWorker: string;
  readonly joinTokenManager: string;
  /** For a cluster that begins with autolock. */
  readonly unlockKey?: string;
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
    lockVersion: input.unlockKey ? 1 : 0,
    spec: {
      ...spec,
      name: spec.name || "default",
      heartbeatMs: spec.heartbeatMs || CLUSTER_DEFAULTS.heartbeatMs,
      taskHistory: spec.taskHistory || CLUSTER_DEFAULTS.taskHistory,
      dataPathPort: spec.dataPathPort || CLUSTER_DEFAULTS.dataPathPort,
      certValidityMs: spec.certValidityMs || CLUSTER_DEFAULTS.certValidityMs,
      poolsV4: spec.poolsV4.length > 0 ? spec.poolsV4 : [...DEFAULT_POOLS.v4],
      poolV4Prefix: spec.poolV4Prefix || DEFAULT_POOLS.v4Length,
      poolsV6: spec.poolsV6.length > 0 ? spec.poolsV6 : [uniqueLocalPool(input.id)],
      poolV6Prefix: spec.poolV6Prefix || DEFAULT_POOLS.v6Length,
    },
  });
  tx.put("cluster", cluster);
  // Their subnets are chosen by the allocator when a node is ready: it is known then what that reaches on its own.
  for (const driver of PREDEFINED) {
    const networkSpec = NetworkSpec.fromPartial({ annotations: { name: driver }, driver, ipv4: driver === "bridge" });
    tx.put("network", Network.fromPartial({ id: ctx.newId(), spec: networkSpec, predefined: true }));
  }
  // Unlike those, users can remove it and make another one.
  const ingress = NetworkSpec.fromPartial({
    annotations: { name: "ingress" },
    driver: "overlay",
    ingress: true,
    ipv4: true,
    ipv6: true,
  });
  tx.put("network", Network.fromPartial({ id: ctx.newId(), spec: ingress, vni: allocateVni(tx, ingress) }));
  return cluster;
};

const existing = (tx: ReadTx): Cluster => {
  const cluster = tx.cluster();
  if (cluster === undefined)
    throw refuse("not_found", "cluster", "there is no cluster yet", "Make one with `tsctl cluster init`");
  return cluster;
};

const CHANGEABLE = ["heartbeatMs", "taskHistory", "certValidityMs", "autolock"] as const;

/** @param freshKey becomes the unlock key when this turns autolock on. Throws not_found, stale_version, invalid. */
export const updateCluster = (
  tx: Tx,
  _ctx: WriteContext,
  input: { readonly version: number; readonly spec: ClusterSpec | undefined; readonly freshKey: string },
): Cluster => {
  const cluster = existing(tx);
  checkVersion("cluster", cluster.meta?.version ?? 0, input.version);
  const before = cluster.spec!;
  const spec = input.spec ?? before;
  const kept = { ...spec };
  for (const field of CHANGEABLE) Object.assign(kept, { [field]: before[field] });
  const wanted = ClusterSpec.encode(kept).finish();
  if (!Buffer.from(wanted).equals(ClusterSpec.encode(before).finish()))
    throw refuse(
      "invalid",
      "spec",
      "name, address pools and data path port are given at the beginning and stay",
      "Change only heartbeat, task history, validity of certificates and autolock",
    );
  for (const field of ["heartbeatMs", "certValidityMs"] as const)
    if (spec[field] === 0) throw refuse("invalid", field, "it is 0", "Give a longer time");
  const next = { ...cluster, spec };
  if (spec.autolock !== before.autolock) {
    next.unlockKey = spec.autolock ? input.freshKey : "";
    next.lockVersion = cluster.lockVersion + 1;
  }
  tx.put("cluster", next);
  return next;
};

/** Managers take the new key as soon as they learn of it; one that is away is unlocked with the key that it went away with. */
export const rotateUnlockKey = (tx: Tx, _ctx: WriteContext, freshKey: string): Cluster => {
  const cluster = existing(tx);
  if (cluster.unlockKey === "")
    throw refuse("conflict", "cluster", "autolock is off", "Turn it on with `tsctl cluster update --autolock=true`");
  const next = { ...cluster, unlockKey: freshKey, lockVersion: cluster.lockVersion + 1 };
  tx.put("cluster", next);
  return next;
};

/** Puts new tokens in place of those that are given: the old ones admit nobody any more; nodes that have joined are not touched. */
export const rotateTokens = (
  tx: Tx,
  _ctx: WriteContext,
  tokens: { readonly worker?: string; readonly manager?: string },
): Cluster => {
  const cluster = existing(tx);
  const next = {
    ...cluster,
    joinTokenWorker: tokens.worker ?? cluster.joinTokenWorker,
    joinTokenManager: tokens.manager ?? cluster.joinTokenManager,
  };
  tx.put("cluster", next);
  return next;
};
