// Network namespaces by file. A switch is synchronous and per thread.
// Exports: createNetns(path), deleteNetns(path), netnsExists(path), withNetns(path | null, fn), withFreshNetns(fn).
// Invariant: outside `withNetns` the thread is in the namespace it had when this module was loaded. If the way back fails,
// the process ends: continuing in the wrong namespace would configure somebody else's network.
import { closeSync, existsSync, mkdirSync, openSync, stat, statSync, unlinkSync, writeSync } from "node:fs";
import { constants } from "node:os";
import { dirname } from "node:path";
import { assert } from "#base/assert.ts";
import { errnoName, errnoOf, systemError } from "./errno.ts";
import { CLONE_NEWNET, call, closeFd, lastErrno, libc, MNT_DETACH, MS_BIND, openFd } from "./libc.ts";

const THREAD_NS = "/proc/thread-self/ns/net";

const home = openFd(THREAD_NS);
let depth = 0;

// libuv starts its thread pool at the first asynchronous call, and the threads stay in the namespace of that moment. So: now.
stat("/", () => {});

const returnTo = (fd: number): void => {
  if (libc.setns(fd, CLONE_NEWNET) === 0) return;
  writeSync(2, `cannot return to the thread's network namespace (${errnoName(lastErrno())}): ending the process\n`);
  libc.exitNow(70);
};

/**
 * Runs `fn` in the namespace of `path` (null: stays where it is) and returns. `fn` must be synchronous, start no process,
 * no worker and no asynchronous call: those would run in, or inherit, the wrong namespace. Calls may be nested.
 */
export function withNetns<T>(path: string | null, fn: () => T extends PromiseLike<unknown> ? never : T): T {
  if (path === null) return fn();
  const target = openFd(path);
  let previous: number | undefined;
  try {
    if (depth > 0) previous = openFd(THREAD_NS);
    call(`enter network namespace ${path}`, libc.setns(target, CLONE_NEWNET));
  } catch (error) {
    if (previous !== undefined) closeFd(previous);
    throw error;
  } finally {
    closeFd(target);
  }
  depth++;
  try {
    return fn();
  } finally {
    depth--;
    returnTo(previous ?? home);
    if (previous !== undefined) closeFd(previous);
  }
}

/** Runs `fn` in a namespace of its own that vanishes afterwards, under the conditions of `withNetns`. */
export function withFreshNetns<T>(fn: () => T extends PromiseLike<unknown> ? never : T): T {
  assert(depth === 0, "withFreshNetns inside another namespace");
  call("unshare the network namespace", libc.unshare(CLONE_NEWNET));
  depth++;
  try {
    return fn();
  } finally {
    depth--;
    returnTo(home);
  }
}

/** A new namespace, kept by a bind mount at `path`. Refuses (EEXIST) when there is one; a stale plain file is reused. */
export const createNetns = (path: string): void => {
  mkdirSync(dirname(path), { recursive: true });
  if (netnsExists(path)) throw systemError(constants.errno.EEXIST, `create network namespace ${path}`);
  closeSync(openSync(path, "a", 0o444));
  try {
    call("unshare the network namespace", libc.unshare(CLONE_NEWNET));
    try {
      call(`keep network namespace at ${path}`, libc.mount(THREAD_NS, path, null, MS_BIND, null));
    } finally {
      returnTo(home);
    }
  } catch (error) {
    unlinkSync(path);
    throw error;
  }
};

/** Removes the file and with it the namespace, once no process and no socket holds it. No error when it is not there. */
export const deleteNetns = (path: string): void => {
  if (!existsSync(path)) return;
  try {
    call(`unmount ${path}`, libc.umount2(path, MNT_DETACH));
  } catch (error) {
    // EINVAL: nothing is mounted, only the file was left.
    if (errnoOf(error) !== "EINVAL") throw error;
  }
  unlinkSync(path);
};

/** Whether a namespace (not just a file) is at `path`. */
export const netnsExists = (path: string): boolean => {
  const found = statSync(path, { throwIfNoEntry: false });
  return found !== undefined && found.dev === statSync(THREAD_NS).dev;
};
