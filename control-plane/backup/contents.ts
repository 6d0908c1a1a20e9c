// What a backup holds. Whoever restores it, or only wants to know that it can be restored, asks this.
import { assert } from "#base/assert.ts";
import { TswarmError } from "#base/errors.ts";
import type { Backup } from "#control-plane/backup/format.ts";
import { createState } from "#control-plane/state/state.ts";
import type { State } from "#control-plane/state/types.ts";

export type BackupContents = {
  readonly clusterId: string;
  readonly clusterName: string;
  readonly createdAt: number;
  readonly index: number;
  readonly version: string;
  readonly bytes: number;
  readonly nodes: number;
  readonly services: number;
  readonly networks: number;
  readonly tasks: number;
};

/** The state as it was. Throws `invalid` when it is not one that a cluster can go on from, `unsupported` for a newer format. */
export const stateOf = ({ header, chunks, sealed }: Backup): State => {
  assert(!sealed, "a sealed backup is opened first");
  const state = createState();
  state.restore(header.index, chunks);
  const cluster = state.cluster();
  if (cluster?.id !== header.clusterId || cluster.caKeyPem.length === 0)
    throw new TswarmError("invalid", "the backup does not hold the cluster that its header names");
  return state;
};

export const contentsOf = (backup: Backup, state = stateOf(backup)): BackupContents => {
  const { clusterId, createdAt, index, version } = backup.header;
  return {
    ...{ clusterId, createdAt, index, version, bytes: backup.bytes },
    clusterName: state.cluster()?.spec?.name ?? "",
    nodes: state.count("node"),
    services: state.count("service"),
    networks: state.count("network"),
    tasks: state.count("task"),
  };
};
