// What unpacking an image layer needs and node:fs has no call for: device nodes, extended attributes, and overlayfs's
// own marks for deleted names (Documentation/filesystems/overlayfs.rst, "whiteouts and opaque directories").
import { closeSync, constants, openSync } from "node:fs";
import { getSystemErrorMap } from "node:util";
import koffi from "koffi";
import { TswarmError } from "#base/errors.ts";

const libc = koffi.load("libc.so.6");
const mknodCall = libc.func("int mknod(const char *path, unsigned int mode, unsigned long dev)");
const lsetxattrCall = libc.func(
  "int lsetxattr(const char *path, const char *name, const void *value, unsigned long size, int flags)",
);
const syncfsCall = libc.func("int syncfs(int fd)");

/** Marks a name as deleted in the layers below: a character device 0/0. */
export const makeWhiteout = (path: string): void => makeNode(path, constants.S_IFCHR, 0, 0);

/** Hides what the layers below hold in this folder. */
export const markOpaque = (directory: string): void => setXattr(directory, "trusted.overlay.opaque", Buffer.from("y"));

/** mknod(2); `mode` is S_IFCHR, S_IFBLK or S_IFIFO with permissions (the umask applies). */
export const makeNode = (path: string, mode: number, major: number, minor: number): void => {
  if ((mknodCall(path, mode, deviceNumber(major, minor)) as number) !== 0)
    throw callError("mknod", path, koffi.errno());
};

/** lsetxattr(2): never follows a symlink. */
export const setXattr = (path: string, name: string, value: Uint8Array): void => {
  if ((lsetxattrCall(path, name, value, value.byteLength, 0) as number) !== 0) {
    throw callError(`setxattr ${name}`, path, koffi.errno());
  }
};

/** syncfs(2) of the file system that holds `directory`, on another thread: it waits for the disk. */
export const syncFilesystem = async (directory: string): Promise<void> => {
  const fd = openSync(directory, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    const result = await new Promise<number>((resolve, reject) => {
      syncfsCall.async(fd, (error: unknown, value: number) => (error ? reject(error) : resolve(value)));
    });
    // errno belongs to the other thread and can't be read here.
    if (result !== 0) throw new TswarmError("internal", `syncfs ${directory} failed: the disk reported a write error.`);
  } finally {
    closeSync(fd);
  }
};

/** The kernel's 64-bit dev_t as glibc's makedev packs it (bits/sysmacros.h). */
const deviceNumber = (major: number, minor: number): bigint =>
  ((BigInt(major) & 0xfffff000n) << 32n) |
  ((BigInt(major) & 0xfffn) << 8n) |
  ((BigInt(minor) & 0xffffff00n) << 12n) |
  (BigInt(minor) & 0xffn);

const callError = (what: string, path: string, errno: number): TswarmError => {
  const [name, text] = getSystemErrorMap().get(-errno) ?? [`errno ${errno}`, "unknown error"];
  const code =
    name === "EPERM" ? "forbidden" : name === "ENOTSUP" || name === "EOPNOTSUPP" ? "unsupported" : "internal";
  return new TswarmError(code, `${what} ${path}: ${text} (${name}).`);
};
