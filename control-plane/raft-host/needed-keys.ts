// Data keys that were replaced are kept for as long as a file needs them.
import path from "node:path";
import type { Logger } from "#base/log.ts";
import type { Disk } from "#control-plane/raft-host/disk.ts";
import type { MemberFiles } from "#control-plane/raft-host/member-files.ts";
import { snapshotKeyId } from "#control-plane/raft-host/snapshot-file.ts";

/** Never throws: a key too much does no harm, and what is wrong with a file shows where it is used. */
export const dropUnneededKeys = async (
  disk: Disk,
  { wal, snapDir, keys }: Pick<MemberFiles, "wal" | "snapDir" | "keys">,
  logger: Logger,
): Promise<void> => {
  try {
    const current = keys.current().id;
    const needed = new Set<number>();
    // Unfinished ones too: they may become snapshots.
    for (const name of disk.list(snapDir)) {
      const id = await snapshotKeyId(disk, path.join(snapDir, name));
      if (id !== undefined) needed.add(id);
    }
    // With another one meanwhile, a file may have been begun that is not in the list.
    if (keys.current().id !== current) return;
    for (const id of wal.keyIds()) needed.add(id);
    keys.retain(needed);
  } catch (error) {
    logger.warn("data keys that nothing needs may have been kept", { error });
  }
};
