// Reads a file of an image or container without being led out of it by its symbolic links.
import { closeSync, fstatSync, openSync, readFileSync } from "node:fs";
import { refuse } from "#base/errors.ts";
import { closeFd, openInRoot, SyscallError } from "./libc.ts";

const MAX_BYTES = 4 << 20;

/** The text of a regular file below `root` (also "/proc/<pid>/root"); empty when there is none. Refuses more than 4 MiB. */
export const readRootfsFile = (root: string, path: string): string => {
  const dir = openSync(root, "r");
  let fd: number | undefined;
  try {
    fd = openInRoot(dir, path);
    const { size } = fstatSync(fd);
    if (!fstatSync(fd).isFile()) return "";
    if (size > MAX_BYTES)
      throw refuse("invalid", "image", `its ${path} has ${size} bytes`, "Use an image with a sane file there");
    return readFileSync(fd, "utf8");
  } catch (e) {
    if (e instanceof SyscallError && ["ENOENT", "ENOTDIR", "ELOOP", "ENXIO"].includes(e.code)) return "";
    throw e;
  } finally {
    if (fd !== undefined) closeFd(fd);
    closeSync(dir);
  }
};
