// Small files that are written again and again and must be whole after a crash of the process. Renaming onto an existing
// file makes ext4 write the data out at that moment (mount option auto_da_alloc), a millisecond and more each time; here no
// name is ever renamed onto another. A power loss may leave an empty file: who needs more uses writeFileDurably.
import { readFileSync, renameSync, rmSync, unlinkSync, writeFileSync } from "node:fs";

/** A whole version that has not got its name yet. */
const pending = (path: string): string => `${path}.new`;

const ifThere = <T>(action: () => T): T | undefined => {
  try {
    return action();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
};

/** At every moment `readReplacedFile` gives the old content or the new one. */
export const replaceFile = (path: string, data: Uint8Array): void => {
  writeFileSync(`${path}.part`, data, { mode: 0o600 });
  renameSync(`${path}.part`, pending(path));
  ifThere(() => unlinkSync(path));
  renameSync(pending(path), path);
};

/** undefined: it was never written, or removed. */
export const readReplacedFile = (path: string): Buffer | undefined =>
  // First the newer one, which is there when a replacement was cut off.
  ifThere(() => readFileSync(pending(path))) ?? ifThere(() => readFileSync(path));

export const removeReplacedFile = (path: string): void => {
  for (const name of [path, pending(path), `${path}.part`]) rmSync(name, { force: true });
};
