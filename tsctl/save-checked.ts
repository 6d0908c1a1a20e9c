// A file that is there whole and checked, or not at all.
import { createReadStream } from "node:fs";
import { open, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";

const syncFolder = async (dir: string): Promise<void> => {
  const folder = await open(dir, "r");
  await folder.sync().finally(() => folder.close());
};

/** As `Cli.save`. What is written meanwhile is in `<path>.part`, which is removed when it fails. */
export const saveChecked = async (
  path: string,
  pieces: AsyncIterable<Uint8Array>,
  check: (written: AsyncIterable<Uint8Array>) => Promise<void>,
): Promise<void> => {
  const part = `${path}.part`;
  // One that a broken-off command left may be readable for others.
  await rm(part, { force: true });
  const file = await open(part, "wx", 0o600);
  try {
    try {
      for await (const piece of pieces) await file.writeFile(piece);
      await file.sync();
    } finally {
      await file.close();
    }
    await check(createReadStream(part));
    await rename(part, path);
  } catch (error) {
    await rm(part, { force: true });
    throw error;
  }
  await syncFolder(dirname(path));
};
