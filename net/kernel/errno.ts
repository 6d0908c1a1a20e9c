// errno → name, text and TswarmError: the one place. Exports: errnoName(n), systemError(n, what, detail?), errnoOf(error).
import { constants } from "node:os";
import { getSystemErrorMessage } from "node:util";
import { type ErrorCode, TswarmError } from "#base/errors.ts";

// Node's table lacks numbers that no system call of libuv gives.
const NAMES = new Map<number, string>([
  ...Object.entries(constants.errno).map(([name, n]): [number, string] => [n, name]),
  [11, "EAGAIN"],
  [85, "ERESTART"],
  [93, "EPROTONOSUPPORT"],
  [95, "EOPNOTSUPP"],
  [117, "EUCLEAN"],
]);

const CODES: Readonly<Record<string, ErrorCode>> = {
  ENOENT: "not_found",
  ENODEV: "not_found",
  ESRCH: "not_found",
  EADDRNOTAVAIL: "not_found",
  EEXIST: "conflict",
  EBUSY: "conflict",
  EADDRINUSE: "conflict",
  ENOTEMPTY: "conflict",
  EINVAL: "invalid",
  ERANGE: "invalid",
  ENAMETOOLONG: "invalid",
  EPERM: "forbidden",
  EACCES: "forbidden",
  EOPNOTSUPP: "unsupported",
  EPROTONOSUPPORT: "unsupported",
  EAFNOSUPPORT: "unsupported",
  ENOSYS: "unsupported",
  EAGAIN: "unavailable",
  EINTR: "unavailable",
  ENOBUFS: "unavailable",
  ENOMEM: "exhausted",
  EMFILE: "exhausted",
  ENFILE: "exhausted",
  ENOSPC: "exhausted",
  ETIMEDOUT: "timeout",
};

export const errnoName = (errno: number): string => NAMES.get(errno) ?? `errno ${errno}`;

const errnoText = (errno: number): string => {
  try {
    return getSystemErrorMessage(-errno) ?? errnoName(errno);
  } catch {
    return errnoName(errno);
  }
};

/** "link add eth0: EEXIST, file already exists (kernel's own words)"; the cause carries `errno`. */
export const systemError = (errno: number, what: string, detail = ""): TswarmError => {
  const name = errnoName(errno);
  const message = `${what}: ${name}, ${errnoText(errno)}${detail === "" ? "" : ` (${detail})`}`;
  return new TswarmError(CODES[name] ?? "internal", message, { cause: { errno, name } });
};

/** The errno behind an error of this folder; undefined for any other error. */
export const errnoOf = (error: unknown): string | undefined => {
  const cause = error instanceof TswarmError ? error.cause : undefined;
  return typeof cause === "object" && cause !== null && "errno" in cause && "name" in cause
    ? String(cause.name)
    : undefined;
};
