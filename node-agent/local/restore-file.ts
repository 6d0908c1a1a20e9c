import { open } from "node:fs/promises";
import { TswarmError } from "#base/errors.ts";
import type { RestorePiece } from "#proto/gen/node.ts";

/** Writes the data of a backup that arrives, for this node's eyes only. */
export const writePieces = async (path: string, pieces: AsyncIterator<RestorePiece>): Promise<void> => {
  const file = await open(path, "w", 0o600);
  try {
    for (let next = await pieces.next(); !next.done; next = await pieces.next()) {
      const { piece } = next.value;
      if (piece?.$case !== "data") throw new TswarmError("invalid", "after its start a restore has only data");
      await file.writeFile(piece.value);
    }
    await file.sync();
  } finally {
    await file.close();
  }
};
