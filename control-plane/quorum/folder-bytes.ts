import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";

/** Bytes of the files in a folder; 0 when it is not there. Files that go meanwhile count nothing. */
export const folderBytes = (dir: string): number => {
  try {
    return readdirSync(dir).reduce(
      (sum, name) => sum + (statSync(join(dir, name), { throwIfNoEntry: false })?.size ?? 0),
      0,
    );
  } catch {
    return 0;
  }
};
