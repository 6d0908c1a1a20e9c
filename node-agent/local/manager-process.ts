// The manager as a child of the agent. It ends when the agent does: its standard input is a pipe from here, and it leaves
// in good order when that closes, also after a kill -9 of the agent. A manager that dies is started again.
import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import type { Clock } from "#base/clock.ts";
import { TswarmError } from "#base/errors.ts";
import type { Logger } from "#base/log.ts";

const ENTRY = fileURLToPath(import.meta.resolve("#control-plane/manager/main.ts"));
/** The agent's standard error: one log for a node, rotated by whoever keeps it. */
const AGENT_LOG = 2;
const RESTART_MIN_MS = 200;
const RESTART_MAX_MS = 5_000;
const STOP_TIMEOUT_MS = 10_000;

export type ManagerProcess = {
  readonly pid: () => number;
  /** Resolves when it serves; rejects when it ends before. */
  readonly ready: Promise<void>;
  /** The node's certificate on disk is a new one. */
  reload(): void;
  /** Hands leadership over and ends. */
  stop(): Promise<void>;
};

/** What the manager asks for: the identity's file sealed with `unlockKey` (empty: open), and no former keys in it. */
export type KeepKeys = (wanted: { readonly unlockKey: string; readonly keyDigest: string }) => boolean;

export type ManagerLock = {
  /** The key of files that are locked now; empty: they are not. */
  unlockKey(): string;
  /** False: the node has another key by now. */
  keep: KeepKeys;
  /** The others have removed this manager: its log is of no use any more. */
  removed(): void;
};

/** The lines that both ends write are described in control-plane/manager/agent-pipe.ts. */
export const startManagerProcess = (
  args: readonly string[],
  clock: Clock,
  logger: Logger,
  lock: ManagerLock,
): ManagerProcess => {
  let child: ChildProcess | undefined;
  let stopping = false;
  let backoff = RESTART_MIN_MS;
  const { promise: ready, resolve, reject } = Promise.withResolvers<void>();
  ready.catch(() => {});
  let isReady = false;

  const kept: KeepKeys = (wanted) => {
    try {
      return lock.keep(wanted);
    } catch (error) {
      logger.error("the node's identity is not locked as the cluster wants it", { error });
      return false;
    }
  };

  const start = (): void => {
    const began = clock.monotonic();
    const started = spawn(process.execPath, [...process.execArgv, ENTRY, ...args], {
      stdio: ["pipe", AGENT_LOG, AGENT_LOG, "pipe"],
    });
    child = started;
    const tell = (message: object) => void started.stdin?.write(`${JSON.stringify(message)}\n`);
    started.stdin?.on("error", () => {}); // it has ended: its exit tells
    const unlockKey = lock.unlockKey();
    if (unlockKey !== "") tell({ unlockKey });
    let said = "";
    createInterface({ input: started.stdio[3] as Readable }).on("line", (line) => {
      if (line === "ready") {
        isReady = true;
        resolve();
      } else if (line.startsWith("keep ")) {
        const { request, ...wanted } = JSON.parse(line.slice("keep ".length));
        tell(kept(wanted) ? { kept: request } : { refused: request });
      } else if (line === "removed") lock.removed();
      else said += `${line}\n`;
    });
    started.once("exit", (code, signal) => {
      if (stopping) return;
      logger.error("manager ended", { code, signal, said });
      if (!isReady) {
        reject(
          new TswarmError(
            "unavailable",
            said.trim() || `the manager ended with ${signal ?? code} before it served: see the agent's log`,
          ),
        );
        return;
      }
      if (clock.monotonic() - began > 10_000) backoff = RESTART_MIN_MS;
      clock.after(backoff, () => stopping || start());
      backoff = Math.min(backoff * 2, RESTART_MAX_MS);
    });
  };
  start();

  return {
    ready,
    pid: () => child?.pid ?? 0,
    // One that is not ready yet has no handler for the signal; it reads the files when it starts again.
    reload: () => void (isReady && child?.kill("SIGHUP")),
    async stop() {
      stopping = true;
      const ending = child;
      if (!ending || ending.exitCode !== null || ending.signalCode !== null) return;
      await new Promise<void>((done) => {
        const cancel = clock.after(STOP_TIMEOUT_MS, () => ending.kill("SIGKILL"));
        ending.once("exit", () => {
          cancel();
          done();
        });
        ending.stdin?.end();
      });
    },
  };
};
