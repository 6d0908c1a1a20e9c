// One conmon per container: it runs `crun create`, keeps the container's pipes or terminal, writes the log and, at the end, the
// exit code. It is no part of the agent's life: after kill -9 of the agent it goes on.
// conmon 2.1; its manual page and conmon(8) of containers/conmon describe the options and the sync pipe.
import { readFileSync, statSync } from "node:fs";
import { open } from "node:fs/promises";
import { join } from "node:path";
import { TswarmError } from "#base/errors.ts";
import { closeFd, pipe } from "./libc.ts";
import { cleanMessage, readLine } from "./program.ts";
import { type Child, PROGRAM_ENV, spawn } from "./spawn.ts";

export type ConmonOptions = {
  readonly conmonPath: string;
  readonly crunPath: string;
  /** crun's --root. */
  readonly crunRoot: string;
  readonly id: string;
  /** Holds config.json; conmon puts its control FIFO, pid files and exit code there. */
  readonly bundle: string;
  readonly logPath: string;
  readonly tty: boolean;
};

const SYNC_FD = 3;

const conmonArgs = (o: ConmonOptions): string[] => [
  o.conmonPath,
  ...[
    "--api-version",
    "1",
    "--cid",
    o.id,
    "--cuuid",
    o.id,
    "--runtime",
    o.crunPath,
    "--runtime-arg",
    `--root=${o.crunRoot}`,
  ],
  ...["--bundle", o.bundle, "--container-pidfile", join(o.bundle, "pid"), "--persist-dir", o.bundle],
  ...["--log-path", `k8s-file:${o.logPath}`, "--log-level", "error"],
  // Not twice forked: conmon is our child, so we know its pid at once and nobody else has to reap it while we live.
  "--sync",
  // Logs survive the container's end anyway; an fsync then would only delay the exit status.
  "--no-sync-log",
  // The attach socket goes into the bundle instead of a folder that all containers of the machine share.
  "--full-attach",
  ...(o.tty ? ["--terminal"] : []),
];

/** Starts conmon and waits until the container is created. Rejects with the runtime's error text. */
export const createWithConmon = async (options: ConmonOptions): Promise<{ pid: number; conmon: Child }> => {
  const [readEnd, writeEnd] = pipe();
  let conmon: Child;
  const answer = readLine(readEnd);
  try {
    const env = [...PROGRAM_ENV, `_OCI_SYNCPIPE=${SYNC_FD}`];
    // In the bundle, because it leaves a file "oom" in its working directory.
    conmon = spawn(conmonArgs(options), ["null", "null", "null", writeEnd], env, options.bundle);
  } finally {
    closeFd(writeEnd);
  }
  const line = await answer;
  if (line === "")
    throw new TswarmError("internal", `conmon ended with code ${await conmon.exit} before the container was created`);
  const { data, message } = JSON.parse(line) as { data: number; message?: string };
  if (data > 0) return { pid: data, conmon };
  await conmon.exit;
  throw new TswarmError("internal", `container can't be created: ${cleanMessage(message ?? "") || `code ${data}`}`);
};

/** Exit code and time that conmon left in the bundle; undefined: it left none. */
export const readExit = (bundle: string): { code: number; at: number } | undefined => {
  const path = join(bundle, "exit");
  try {
    return { code: Number(readFileSync(path, "latin1")), at: statSync(path).mtimeMs };
  } catch {
    return undefined;
  }
};

/** Makes conmon open its log file anew, after the old one has been renamed. Does nothing when conmon is gone. */
export const reopenLog = async (bundle: string): Promise<void> => {
  const REOPEN_LOGS = "2 0 0\n";
  try {
    // O_WRONLY | O_NONBLOCK: a FIFO without a reader answers ENXIO instead of waiting for one.
    const fifo = await open(join(bundle, "ctl"), 0o1 | 0o4000);
    try {
      await fifo.write(REOPEN_LOGS);
    } finally {
      await fifo.close();
    }
  } catch (e) {
    if (!["ENXIO", "ENOENT"].includes((e as NodeJS.ErrnoException).code ?? "")) throw e;
  }
};
