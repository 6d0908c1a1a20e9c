import { closeSync, fchmodSync, fsyncSync, openSync, renameSync, writeSync } from "node:fs";
import { dirname } from "node:path";

/** Writes the whole file or nothing, and makes it outlive a power loss: temporary file, fsync, rename, fsync of the folder. */
export const writeFileDurably = (path: string, data: string | Uint8Array, mode = 0o600): void => {
  const temporary = `${path}.new`;
  const file = openSync(temporary, "w", mode);
  try {
    // A file that an interrupted write has left keeps its mode when it is opened.
    fchmodSync(file, mode);
    const bytes = typeof data === "string" ? Buffer.from(data) : data;
    for (let at = 0; at < bytes.length; ) at += writeSync(file, bytes, at);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  renameSync(temporary, path);
  const folder = openSync(dirname(path), "r");
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
};
