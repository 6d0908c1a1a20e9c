// Processes by pidfd: the end of a process as an event on Node's loop, and signals that can't hit a successor with the same pid.
import { readFileSync } from "node:fs";
import { constants } from "node:os";
import koffi, { type node } from "koffi";
import { refuse } from "#base/errors.ts";
import { closeFd, highFd, pidfdOpen, pidfdSendSignal, SyscallError } from "./libc.ts";

export type ProcessWatch = { close(): void };

/** A poll handle that nobody holds is garbage-collected and then reports nothing. */
const held = new Set<node.PollHandle>();

/** Calls back once when the process has ended, at once (in a later turn) when it is gone already. Works for any process, child or not. */
export const watchProcess = (pid: number, ended: () => void): ProcessWatch => {
  let pidfd: number;
  try {
    pidfd = highFd(pidfdOpen(pid));
  } catch (error) {
    // Anything else, such as too many open files, says nothing about the process.
    if (!(error instanceof SyscallError && error.code === "ESRCH")) throw error;
    const soon = setImmediate(ended);
    return { close: () => clearImmediate(soon) };
  }
  let open = true;
  const close = () => {
    if (!open) return;
    open = false;
    held.delete(handle);
    handle.close();
    closeFd(pidfd);
  };
  const handle = koffi.node.poll(pidfd, { readable: true }, () => {
    close();
    ended();
  });
  held.add(handle);
  return { close };
};

/** A process that may have been replaced by another with its pid: the start time tells (clock ticks since boot). */
export type ProcessId = { readonly pid: number; readonly startTicks: number };

/** Start time of a process that exists and is no zombie, else undefined. Field 22 of /proc/pid/stat (proc(5)). */
export const startTicks = (pid: number): number | undefined => {
  let stat: string;
  try {
    stat = readFileSync(`/proc/${pid}/stat`, "latin1");
  } catch {
    return undefined;
  }
  // The name in parentheses may hold blanks and parentheses.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return fields[0] === "Z" || fields[0] === "X" ? undefined : Number(fields[19]);
};

export const isAlive = (process: ProcessId): boolean => startTicks(process.pid) === process.startTicks;

/** False when the process is gone. */
export const sendSignal = (process: ProcessId, signal: number): boolean => {
  let pidfd: number | undefined;
  try {
    pidfd = pidfdOpen(process.pid);
    if (!isAlive(process)) return false;
    pidfdSendSignal(pidfd, signal);
    return true;
  } catch (e) {
    if (e instanceof SyscallError && e.code === "ESRCH") return false;
    throw e;
  } finally {
    if (pidfd !== undefined) closeFd(pidfd);
  }
};

/** "SIGTERM", "TERM", "term", "15", "RTMIN+3" → number. */
export const signalNumber = (signal: string): number => {
  const upper = signal.toUpperCase();
  const name = upper.startsWith("SIG") ? upper : `SIG${upper}`;
  const known = (constants.signals as Record<string, number | undefined>)[name];
  if (known !== undefined) return known;
  // As glibc gives them to programs: 32 and 33 are its own.
  const realtime = /^SIGRT(MIN|MAX)(?:([+-])(\d+))?$/.exec(name);
  const number = realtime
    ? (realtime[1] === "MIN" ? 34 : 64) + Number(`${realtime[2] ?? "+"}${realtime[3] ?? 0}`)
    : /^\d+$/.test(signal)
      ? Number(signal)
      : Number.NaN;
  if (number >= 1 && number <= 64) return number;
  throw refuse(
    "invalid",
    "signal",
    `"${signal}" is no signal`,
    "Use a name of signal(7) such as SIGTERM, or its number",
  );
};
