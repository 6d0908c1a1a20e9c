// A manager whose quorum is lost for good goes on alone, from its own log.
import { join } from "node:path";
import { refuse, TswarmError } from "#base/errors.ts";
import type { Logger } from "#base/log.ts";
import { writeFileDurably } from "#base/node/files.ts";
import { beginFromSnapshot } from "#control-plane/raft-host/fresh-member.ts";
import { hasKeyFile } from "#control-plane/raft-host/key-file.ts";
import type { DataKeys } from "#control-plane/raft-host/keys.ts";
import { openMemberFiles } from "#control-plane/raft-host/member-files.ts";
import { nodeDisk } from "#control-plane/raft-host/node-disk.ts";
import { readRaftIdentity } from "#control-plane/raft-host/raft-log.ts";
import { liveFolder, putInPlace, settleFolders, unfinishedFolder } from "#control-plane/recovery/folder-swap.ts";
import { becomeOnlyManager, INDEX_GAP, rewrite } from "#control-plane/recovery/only-manager.ts";
import { replay } from "#control-plane/recovery/replay.ts";
import type { WriteContext } from "#control-plane/state/types.ts";

/**
 * The member begins anew under an id of its own. The others believe in the old one, so nothing that they send is for it.
 * They may have taken members in that this log does not tell of: so many ids are left to these.
 */
export const RAFT_ID_GAP = 1_000;
/** Little is written here; the manager makes its segments as large as it wants them. */
export const SEGMENT_BYTES = 64 << 10;

export type Recover = {
  readonly dataDir: string;
  readonly clusterId: string;
  readonly nodeId: string;
  /** host:port */
  readonly advertise: string;
  /** Opens what the files in the folder are encrypted with. */
  readonly keysOf: (dir: string) => DataKeys;
  readonly context: WriteContext;
  readonly logger: Logger;
};

export type Recovered = {
  /** Names of the managers that it goes on without. */
  readonly without: readonly string[];
  /** Name of the folder with the log as it was. */
  readonly kept: string;
  /** All entries up to this one are kept. */
  readonly index: number;
};

/** The keys of the new files are wrapped as those of the old ones: whoever could start the manager still can. */
const copyKeys = (from: string, to: string): void => {
  nodeDisk.makeDirectory(to);
  if (hasKeyFile(nodeDisk, from)) writeFileDurably(join(to, "keys"), nodeDisk.read(join(from, "keys")));
};

export const folderTime = (now: number): string => new Date(now).toISOString().replace(/[-:.]/g, "");

/** The manager must not run. Throws `not_found` without a log, `conflict` when another process has it or its state knows no cluster. */
export const recoverLog = async (options: Recover): Promise<Recovered> => {
  const { dataDir, clusterId, nodeId, advertise, keysOf, context, logger } = options;
  settleFolders(dataDir);
  const dir = liveFolder(dataDir);
  const identity = readRaftIdentity(dir);
  if (identity === null)
    throw new TswarmError("not_found", `there is no log in ${dir}: this manager never was in a quorum`);
  const keys = keysOf(dir);
  const files = await openMemberFiles({
    ...{ dir, disk: nodeDisk, logger, segmentBytes: SEGMENT_BYTES, keys, clusterId, beginning: null },
    raftId: identity.raftId,
  });
  try {
    await files.wal.close();
    const { state, index, term, raftIds } = await replay(nodeDisk, files);
    if (state.cluster() === undefined)
      throw refuse("conflict", "cluster", "this manager's log does not hold it yet", "Recover on another manager");
    const others = rewrite(state, index + INDEX_GAP, context, (tx) => becomeOnlyManager(tx, nodeId));
    const fresh = unfinishedFolder(dataDir);
    copyKeys(dir, fresh);
    await beginFromSnapshot({
      ...{ dir: fresh, disk: nodeDisk, logger, segmentBytes: SEGMENT_BYTES, keys, clusterId },
      self: { raftId: Math.max(...raftIds) + RAFT_ID_GAP, nodeId, addr: advertise },
      index: index + INDEX_GAP,
      term: term + 1,
      removed: [...raftIds],
      chunks: state.snapshot(),
    });
    const kept = `raft.before-recover-${folderTime(context.now)}`;
    files.unlock();
    putInPlace(dataDir, kept);
    const without = others.map((n) => n.spec?.annotations?.name || n.description?.hostname || n.id);
    return { without, kept: join(dataDir, kept), index };
  } catch (error) {
    files.unlock();
    throw error;
  }
};
