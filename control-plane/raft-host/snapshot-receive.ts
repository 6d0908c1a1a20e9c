// A snapshot file that arrives over the network: written beside, synced, then checked as a whole.
import path from "node:path";
import type { Disk } from "#control-plane/raft-host/disk.ts";
import { checkSnapshot, type SnapshotHeader } from "#control-plane/raft-host/snapshot-file.ts";

let receipts = 0;

/** Returns the temporary file, which the caller adopts or removes. Throws when the sender breaks off or sends damage. */
export const receiveSnapshotFile = async (
  disk: Disk,
  dir: string,
  from: number,
  pieces: AsyncIterable<Uint8Array>,
): Promise<{ tmp: string; header: SnapshotHeader }> => {
  const tmp = path.join(dir, `from-${from}-${++receipts}.tmp`);
  const file = disk.open(tmp, "create");
  try {
    try {
      let at = 0;
      for await (const piece of pieces) {
        file.write(piece, at);
        at += piece.length;
      }
      await file.sync();
    } finally {
      file.close();
    }
    return { tmp, header: await checkSnapshot(disk, tmp) };
  } catch (error) {
    disk.remove(tmp);
    throw error;
  }
};
