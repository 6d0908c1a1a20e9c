// mount(2) and umount2(2) in this process's mount namespace: 0.2 ms instead of the 7–19 ms of a spawned `mount`.
// Flags are those of linux/mount.h. Synchronous on purpose: a koffi call made asynchronously runs on another thread,
// which may sit in another namespace.
import { getSystemErrorMap } from "node:util";
import koffi from "koffi";
import { type ErrorCode, TswarmError } from "#base/errors.ts";

export const MS_RDONLY = 0x1;
export const MS_REMOUNT = 0x20;
export const MS_BIND = 0x1000;

export const MNT_DETACH = 0x2;
export const UMOUNT_NOFOLLOW = 0x8;

/** The kernel copies one page of options and cuts the rest off without a word (fs/namespace.c copy_mount_options). */
export const MOUNT_DATA_MAX = 4095;

const libc = koffi.load("libc.so.6");
const mountCall = libc.func(
  "int mount(const char *source, const char *target, const char *fstype, unsigned long flags, const char *data)",
);
const umountCall = libc.func("int umount2(const char *target, int flags)");

/**
 * mount(2). Pass "" for the type and options that a bind, move or propagation change ignores.
 * @throws TswarmError: `invalid` when the options exceed a page, else by errno, with its name and text.
 */
export const mount = (source: string, target: string, fstype: string, flags: number, data: string): void => {
  if (Buffer.byteLength(data) > MOUNT_DATA_MAX) {
    throw new TswarmError(
      "invalid",
      `mount ${target}: the options need ${Buffer.byteLength(data)} bytes, the kernel takes ${MOUNT_DATA_MAX}. Use fewer or shorter paths.`,
    );
  }
  const result = mountCall(source, target, fstype === "" ? null : fstype, flags, data === "" ? null : data) as number;
  if (result !== 0) throw callError(`mount ${fstype === "" ? source : fstype} at ${target}`, koffi.errno());
};

/** umount2(2). @throws TswarmError by errno: `invalid` when nothing is mounted there, `conflict` when it is busy. */
export const umount = (target: string, flags = 0): void => {
  if ((umountCall(target, flags) as number) !== 0) throw callError(`unmount ${target}`, koffi.errno());
};

const CODES: Readonly<Record<string, ErrorCode>> = {
  ENOENT: "not_found",
  EBUSY: "conflict",
  EINVAL: "invalid",
  ENOTDIR: "invalid",
  EPERM: "forbidden",
  EACCES: "forbidden",
  ENODEV: "unsupported",
  ENOSYS: "unsupported",
};

const callError = (what: string, errno: number): TswarmError => {
  const [name, text] = getSystemErrorMap().get(-errno) ?? [`errno ${errno}`, "unknown error"];
  return new TswarmError(CODES[name] ?? "internal", `${what}: ${text} (${name}).`);
};
