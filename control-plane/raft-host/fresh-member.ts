// A member's folder that begins with a snapshot instead of a log: the only member of a cluster that goes on from a state
// that is known already.
import path from "node:path";
import type { Logger } from "#base/log.ts";
import type { SnapshotMeta } from "#control-plane/raft/types.ts";
import type { Disk } from "#control-plane/raft-host/disk.ts";
import type { DataKeys } from "#control-plane/raft-host/keys.ts";
import { encodePeers, type Peer } from "#control-plane/raft-host/peers.ts";
import { writeSnapshot } from "#control-plane/raft-host/snapshot-file.ts";
import { openWal } from "#control-plane/raft-host/wal.ts";

export type FreshMember = {
  /** Empty, or not there yet. */
  readonly dir: string;
  readonly disk: Disk;
  readonly logger: Logger;
  readonly segmentBytes: number;
  readonly keys: DataKeys;
  readonly clusterId: string;
  readonly self: Peer;
  /** Of the snapshot. */
  readonly index: number;
  readonly term: number;
  /** Ids that were members once: what they send is ignored for ever. */
  readonly removed: readonly number[];
  readonly chunks: Iterable<Uint8Array>;
};

/** When it resolves, all of the folder is on the disk, but for its own name. */
export const beginFromSnapshot = async (options: FreshMember): Promise<void> => {
  const { dir, disk, logger, segmentBytes, keys, clusterId, self, index, term, removed, chunks } = options;
  const snapDir = path.join(dir, "snap");
  disk.makeDirectory(dir);
  disk.makeDirectory(snapDir);
  const conf = { voters: [self.raftId], learners: [], removed: [...removed].sort((a, b) => a - b) };
  const meta: SnapshotMeta = { index, term, conf };
  const peers = encodePeers([self]);
  await writeSnapshot(disk, snapDir, { clusterId, meta, peers }, chunks, keys);
  const { raftId } = self;
  const { wal } = await openWal(
    { dir: path.join(dir, "wal"), disk, segmentBytes, logger, keys },
    { raftId, clusterId },
  );
  wal.append([
    { kind: "snapshot", index, term, reset: true },
    { kind: "hard-state", hardState: { term, vote: 0, commit: index } },
    { kind: "peers", data: peers },
  ]);
  await wal.sync();
  await wal.close();
  disk.syncDirectory(dir);
};
