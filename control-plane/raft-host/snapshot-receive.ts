// A snapshot that arrives over the network: written beside with this member's own key, synced, then checked as a whole.
import path from "node:path";
import type { Disk } from "#control-plane/raft-host/disk.ts";
import type { DataKeys } from "#control-plane/raft-host/keys.ts";
import { PieceReader } from "#control-plane/raft-host/piece-reader.ts";
import { checkSnapshot, writeSealed } from "#control-plane/raft-host/snapshot-file.ts";
import { damaged, decodeStream, type SnapshotHeader, STREAM_MAGIC } from "#control-plane/raft-host/snapshot-stream.ts";

let receipts = 0;

/** Returns the temporary file, which the caller adopts or removes. Throws when the sender breaks off or sends damage. */
export const receiveSnapshotFile = async (
  disk: Disk,
  dir: string,
  from: number,
  pieces: AsyncIterable<Uint8Array>,
  keys: DataKeys,
): Promise<{ tmp: string; header: SnapshotHeader }> => {
  const name = `from-${from}-${++receipts}.tmp`;
  const tmp = path.join(dir, name);
  const reader = new PieceReader(pieces);
  try {
    if (!(await reader.take(STREAM_MAGIC.length))?.equals(STREAM_MAGIC))
      throw damaged(`of member ${from}`, "it does not begin as one");
    const { header, chunks } = await decodeStream(`of member ${from}`, reader);
    await writeSealed(disk, tmp, header, chunks, keys);
    return { tmp, header: await checkSnapshot(disk, tmp, keys) };
  } catch (error) {
    if (disk.list(dir).includes(name)) disk.remove(tmp);
    throw error;
  } finally {
    await reader.close();
  }
};
