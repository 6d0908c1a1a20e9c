// System calls that Node has no API for. Every function throws `SyscallError` with the errno's name; file descriptors are made
// close-on-exec and belong to the caller.
import koffi from "koffi";

const libc = koffi.load("libc.so.6");
const syscall4 = libc.func("long syscall(long number, long a, long b, long c, long d)");
const syscallOpenat2 = libc.func("long syscall(long number, int dirfd, str path, void *how, long size)");
const cPipe2 = libc.func("int pipe2(void *fds, int flags)");
const cSocket = libc.func("int socket(int domain, int type, int protocol)");
const cBind = libc.func("int bind(int fd, void *address, uint length)");
const cListen = libc.func("int listen(int fd, int backlog)");
const cAccept4 = libc.func("int accept4(int fd, void *address, void *length, int flags)");
const cRecvmsg = libc.func("long recvmsg(int fd, void *message, int flags)");
const cIoctl = libc.func("int ioctl(int fd, ulong request, void *argument)");
const cClose = libc.func("int close(int fd)");
const cFcntl = libc.func("int fcntl(int fd, int command, int argument)");
const cWaitid = libc.func("int waitid(int type, uint id, void *info, int options)");

/** Where two names have one number, the first counts. */
const ERRNO_NAMES = new Map(
  Object.entries(koffi.os.errno)
    .reverse()
    .map(([name, value]) => [value, name]),
);

export class SyscallError extends Error {
  readonly code: string;
  constructor(call: string, errno: number) {
    const code = ERRNO_NAMES.get(errno) ?? `errno ${errno}`;
    super(`${call}: ${code}`);
    this.name = "SyscallError";
    this.code = code;
  }
}

const check = (call: string, result: number): number => {
  if (result < 0) throw new SyscallError(call, koffi.errno());
  return result;
};

// Same numbers on x86-64 and arm64 (asm/unistd.h).
const SYS_PIDFD_SEND_SIGNAL = 424;
const SYS_PIDFD_OPEN = 434;
const SYS_OPENAT2 = 437;

const O_CLOEXEC = 0o2000000;
const O_NONBLOCK = 0o4000;

/** pidfd_open(2). ESRCH when there is no such process. */
export const pidfdOpen = (pid: number): number => check("pidfd_open", syscall4(SYS_PIDFD_OPEN, pid, 0, 0, 0));

const F_DUPFD_CLOEXEC = 1030;
const FD_SETSIZE = 1024;

/** The same open file under a descriptor that select(2) can't take: those below are for libnftables. Else `fd` itself. */
export const highFd = (fd: number): number => {
  const high: number = cFcntl(fd, F_DUPFD_CLOEXEC, FD_SETSIZE);
  if (high < 0) return fd;
  cClose(fd);
  return high;
};

/** pidfd_send_signal(2); ESRCH when it has been reaped. */
export const pidfdSendSignal = (pidfd: number, signal: number): void => {
  check("pidfd_send_signal", syscall4(SYS_PIDFD_SEND_SIGNAL, pidfd, signal, 0, 0));
};

/** Opens `path` as if `dirfd` were "/": neither ".." nor symbolic links lead out of it (openat2(2), RESOLVE_IN_ROOT). Read-only. */
export const openInRoot = (dirfd: number, path: string): number => {
  const RESOLVE_NO_MAGICLINKS = 0x02n;
  const RESOLVE_IN_ROOT = 0x10n;
  const how = Buffer.alloc(24);
  // O_NONBLOCK: opening a FIFO that an image put there must not wait for a writer.
  how.writeBigUInt64LE(BigInt(O_CLOEXEC | O_NONBLOCK), 0);
  how.writeBigUInt64LE(RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS, 16);
  return check(`open ${path}`, syscallOpenat2(SYS_OPENAT2, dirfd, path, how, how.length));
};

/** [read end, write end] */
export const pipe = (): [number, number] => {
  const fds = Buffer.alloc(8);
  check("pipe2", cPipe2(fds, O_CLOEXEC));
  return [fds.readInt32LE(0), fds.readInt32LE(4)];
};

export const closeFd = (fd: number): void => {
  cClose(fd);
};

const AF_UNIX = 1;
const SOCK_STREAM = 1;
const SOL_SOCKET = 1;
const SCM_RIGHTS = 1;
const MSG_CMSG_CLOEXEC = 0x40000000;

/** A listening Unix socket at `path` (at most 107 bytes), non-blocking. */
export const unixListener = (path: string): number => {
  const name = Buffer.from(path);
  if (name.length > 107) throw new RangeError(`socket path is longer than 107 bytes: ${path}`);
  const address = Buffer.alloc(110);
  address.writeUInt16LE(AF_UNIX, 0);
  name.copy(address, 2);
  const fd = check("socket", cSocket(AF_UNIX, SOCK_STREAM | O_CLOEXEC | O_NONBLOCK, 0));
  try {
    check(`bind ${path}`, cBind(fd, address, address.length));
    check("listen", cListen(fd, 1));
    return fd;
  } catch (e) {
    closeFd(fd);
    throw e;
  }
};

export const acceptConnection = (listener: number): number =>
  check("accept4", cAccept4(listener, null, null, O_CLOEXEC));

/** Waits for one message on a connected Unix socket and returns the file descriptor it carries (unix(7), cmsg(3)). */
export const receiveFd = (socket: number): number => {
  const data = Buffer.alloc(4096);
  const control = Buffer.alloc(24);
  const iov = Buffer.alloc(16);
  iov.writeBigUInt64LE(BigInt(koffi.address(data)), 0);
  iov.writeBigUInt64LE(BigInt(data.length), 8);
  // struct msghdr: name, namelen, iov, iovlen, control, controllen, flags
  const message = Buffer.alloc(56);
  message.writeBigUInt64LE(BigInt(koffi.address(iov)), 16);
  message.writeBigUInt64LE(1n, 24);
  message.writeBigUInt64LE(BigInt(koffi.address(control)), 32);
  message.writeBigUInt64LE(BigInt(control.length), 40);
  check("recvmsg", cRecvmsg(socket, message, MSG_CMSG_CLOEXEC));
  const carries = Number(message.readBigUInt64LE(40)) >= 20;
  if (!carries || control.readInt32LE(8) !== SOL_SOCKET || control.readInt32LE(12) !== SCM_RIGHTS)
    throw new Error("recvmsg: the message carries no file descriptor");
  return control.readInt32LE(16);
};

/** TIOCSWINSZ (asm-generic/ioctls.h). */
export const setWindowSize = (fd: number, columns: number, rows: number): void => {
  const size = Buffer.alloc(8);
  size.writeUInt16LE(rows, 0);
  size.writeUInt16LE(columns, 2);
  check("ioctl TIOCSWINSZ", cIoctl(fd, 0x5414, size));
};

/** The status of a child that has ended, reaped; undefined when it is none of ours. Code, or 128 + signal. */
export const reap = (pid: number): number | undefined => {
  const P_PID = 1;
  const WNOHANG = 1;
  const WEXITED = 4;
  const CLD_EXITED = 1;
  const info = Buffer.alloc(128);
  if (cWaitid(P_PID, pid, info, WNOHANG | WEXITED) < 0) return undefined;
  // siginfo_t on 64 bit: signo 0 (0: none has ended), code 8, status 24
  if (info.readInt32LE(0) === 0) return undefined;
  const status = info.readInt32LE(24);
  return info.readInt32LE(8) === CLD_EXITED ? status : 128 + status;
};
