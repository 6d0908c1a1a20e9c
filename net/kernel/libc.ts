// System calls through koffi. Every call here is synchronous: it runs on the calling thread, which is what namespaces need.
// Exports: libc (raw calls), call(name, result) → result or TswarmError, constants, openFd, closeFd.
// Traps: read errno at once (any other koffi call may change it); buffers are passed in place; `ssize_t` is called `long`.
import koffi from "koffi";
import { systemError } from "./errno.ts";

const lib = koffi.load("libc.so.6");

export const libc = {
  socket: lib.func("int socket(int domain, int type, int protocol)") as (d: number, t: number, p: number) => number,
  bind: lib.func("int bind(int fd, const void *address, uint32_t length)") as (
    fd: number,
    a: Uint8Array,
    n: number,
  ) => number,
  listen: lib.func("int listen(int fd, int backlog)") as (fd: number, backlog: number) => number,
  setsockopt: lib.func("int setsockopt(int fd, int level, int name, const void *value, uint32_t length)") as (
    fd: number,
    level: number,
    name: number,
    value: Uint8Array,
    length: number,
  ) => number,
  getsockopt: lib.func("int getsockopt(int fd, int level, int name, void *value, void *length)") as (
    fd: number,
    level: number,
    name: number,
    value: Uint8Array,
    length: Uint8Array,
  ) => number,
  // Variadic in C; an int argument is passed in the same way.
  fcntl: lib.func("int fcntl(int fd, int command, int argument)") as (
    fd: number,
    command: number,
    argument: number,
  ) => number,
  send: lib.func("long send(int fd, const void *bytes, size_t length, int flags)") as (
    fd: number,
    b: Uint8Array,
    n: number,
    flags: number,
  ) => number,
  recv: lib.func("long recv(int fd, void *bytes, size_t length, int flags)") as (
    fd: number,
    b: Uint8Array,
    n: number,
    flags: number,
  ) => number,
  recvmsg: lib.func("long recvmsg(int fd, void *message, int flags)") as (
    fd: number,
    message: Uint8Array,
    flags: number,
  ) => number,
  open: lib.func("int open(const char *path, int flags, uint32_t mode)") as (
    path: string,
    flags: number,
    mode: number,
  ) => number,
  close: lib.func("int close(int fd)") as (fd: number) => number,
  setns: lib.func("int setns(int fd, int type)") as (fd: number, type: number) => number,
  unshare: lib.func("int unshare(int flags)") as (flags: number) => number,
  mount: lib.func(
    "int mount(const char *source, const char *target, const char *type, ulong flags, const char *data)",
  ) as (source: string | null, target: string, type: string | null, flags: number, data: string | null) => number,
  umount2: lib.func("int umount2(const char *target, int flags)") as (target: string, flags: number) => number,
  exitNow: lib.func("void _exit(int status)") as (status: number) => void,
};

export const O_RDONLY = 0;
export const O_CLOEXEC = 0o2000000;
export const CLONE_NEWNET = 0x40000000;
export const MS_BIND = 4096;
export const MNT_DETACH = 2;
export const AF_INET = 2;
export const AF_INET6 = 10;
export const AF_NETLINK = 16;
export const SOCK_STREAM = 1;
export const SOCK_DGRAM = 2;
export const SOCK_RAW = 3;
export const SOCK_CLOEXEC = 0o2000000;
export const SOCK_NONBLOCK = 0o4000;
export const MSG_DONTWAIT = 0x40;
export const MSG_TRUNC = 0x20;
export const SOL_SOCKET = 1;

/** The result of a call, or its errno as a TswarmError naming `what` was tried. */
export const call = (what: string, result: number): number => {
  if (result < 0) throw systemError(koffi.errno(), what);
  return result;
};

export const lastErrno = (): number => koffi.errno();

export const openFd = (path: string): number => call(`open ${path}`, libc.open(path, O_RDONLY | O_CLOEXEC, 0));

export const closeFd = (fd: number): void => {
  libc.close(fd);
};

const FD_SETSIZE = 1024;
const F_DUPFD_CLOEXEC = 1030;

/**
 * The same open file under a descriptor that select(2) can't take, or `fd` itself when none is free there. For what stays open
 * long, one per container: libnftables needs the descriptors below.
 */
export const highFd = (fd: number): number => {
  const high = libc.fcntl(fd, F_DUPFD_CLOEXEC, FD_SETSIZE);
  if (high < 0) return fd;
  closeFd(fd);
  return high;
};

/** A 4-byte integer option; undefined when the descriptor is not an open socket. */
export const getOption = (fd: number, level: number, name: number): number | undefined => {
  const value = new Uint8Array(4);
  const length = Uint8Array.of(4, 0, 0, 0);
  if (libc.getsockopt(fd, level, name, value, length) < 0) return undefined;
  return new DataView(value.buffer).getInt32(0, true);
};

const F_GETFD = 1;
export const isOpen = (fd: number): boolean => libc.fcntl(fd, F_GETFD, 0) >= 0;

/** A 4-byte integer option. */
export const setOption = (fd: number, level: number, name: number, value: number): number => {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setInt32(0, value, true);
  return libc.setsockopt(fd, level, name, bytes, 4);
};
