// Another process in a running container: one `crun exec` that stays as its parent and passes the exit code on. crun's own errors
// go to a log file, so that they can't be mistaken for output of the process.
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { Socket } from "node:net";
import { join } from "node:path";
import { PassThrough, Writable } from "node:stream";
import { ReadStream } from "node:tty";
import { TswarmError } from "#base/errors.ts";
import { listenForTerminal } from "./console-socket.ts";
import { closeFd, pipe, setWindowSize } from "./libc.ts";
import { execProcess, type OciProcess } from "./oci/bundle.ts";
import { resolveUser } from "./oci/user.ts";
import { sendSignal, signalNumber, startTicks } from "./pidfd.ts";
import { cleanMessage } from "./program.ts";
import { readRootfsFile } from "./rootfs-file.ts";
import type { ExecHandle, ExecSpec, TerminalSize } from "./runtime.ts";
import { type Child, PROGRAM_ENV, spawn } from "./spawn.ts";

export type ExecTarget = {
  readonly id: string;
  /** argv up to and including "exec", with crun's messages going to this file. */
  readonly crun: (logPath: string) => string[];
  /** Folder for files that live as long as the exec. */
  readonly bundle: string;
  /** The container's own process, from its config.json. */
  readonly process: OciProcess;
  /** The root file system as seen from here. */
  readonly root: string;
};

let counter = 0;

export const startExec = async (target: ExecTarget, spec: ExecSpec): Promise<ExecHandle> => {
  const read = (path: string) => readRootfsFile(target.root, path);
  const user = spec.user === undefined ? undefined : resolveUser(spec.user, read("/etc/passwd"), read("/etc/group"));
  const tty = spec.tty ?? false;
  const change = { args: spec.args, env: spec.env ?? [], cwd: spec.cwd, tty };
  const file = join(target.bundle, `exec${process.pid}-${counter++}`);
  const paths = { process: `${file}.json`, pid: `${file}.pid`, log: `${file}.log`, socket: `${file}.sock` };
  writeFileSync(paths.process, JSON.stringify(execProcess(target.process, change, user, spec.size)));
  const argv = [...target.crun(paths.log), `--process=${paths.process}`, `--pid-file=${paths.pid}`];

  const stdout = new PassThrough();
  const stderr = new PassThrough();
  const { child, stdin, outputDone, resize } = tty
    ? startWithTerminal([...argv, `--console-socket=${paths.socket}`, target.id], paths.socket, stdout, spec.size)
    : startWithPipes([...argv, target.id], stdout, stderr);

  const exit = child.exit.then(async (code) => {
    await outputDone(code);
    const message = cleanMessage(readText(paths.log));
    for (const path of Object.values(paths)) rmSync(path, { force: true });
    const outcome = message === "" ? code : refusalCode(message);
    if (message !== "" && !tty) stderr.write(`${message}\n`);
    stdout.end(message !== "" && tty ? `${message}\r\n` : undefined);
    stderr.end();
    if (outcome === undefined) throw new TswarmError("internal", `exec in container ${target.id}: ${message}`);
    return outcome;
  });
  exit.catch(() => {});
  const kill = (signal = "SIGKILL") => {
    // Before crun has written the pid there is only crun to stop.
    const pid = Number(readText(paths.pid)) || child.pid;
    sendSignal({ pid, startTicks: startTicks(pid) ?? -1 }, signalNumber(signal));
  };
  return { stdin, stdout, stderr, resize, exit, kill };
};

type Started = {
  child: Child;
  stdin: NodeJS.WritableStream;
  /** Resolves when all output is in the stream. */
  outputDone: (code: number) => Promise<void>;
  resize: (size: TerminalSize) => void;
};

const startWithPipes = (argv: string[], stdout: PassThrough, stderr: PassThrough): Started => {
  const [inRead, inWrite] = pipe();
  const [outRead, outWrite] = pipe();
  const [errRead, errWrite] = pipe();
  let child: Child;
  try {
    child = spawn(argv, [inRead, outWrite, errWrite], PROGRAM_ENV);
  } catch (e) {
    for (const fd of [inWrite, outRead, errRead]) closeFd(fd);
    throw e;
  } finally {
    for (const fd of [inRead, outWrite, errWrite]) closeFd(fd);
  }
  const stdin = new Socket({ fd: inWrite, readable: false, writable: true });
  // EPIPE when the process does not read: the exit code tells what matters.
  stdin.on("error", () => {});
  const ends = [forward(new Socket({ fd: outRead, readable: true, writable: false }), stdout)];
  ends.push(forward(new Socket({ fd: errRead, readable: true, writable: false }), stderr));
  const outputDone = async () => {
    await Promise.all(ends);
    stdin.destroy();
  };
  return { child, stdin, outputDone, resize: () => {} };
};

const startWithTerminal = (argv: string[], socketPath: string, stdout: PassThrough, size?: TerminalSize): Started => {
  const console = listenForTerminal(socketPath);
  let child: Child;
  try {
    child = spawn(argv, ["null", "null", "null"], PROGRAM_ENV);
  } catch (e) {
    console.close();
    throw e;
  }
  let terminal: { stream: ReadStream; fd: number } | undefined;
  let wanted = size;
  const connected = console.terminal.then((fd) => {
    console.close();
    const stream = new ReadStream(fd);
    terminal = { stream, fd };
    if (wanted) setWindowSize(fd, wanted.columns, wanted.rows);
    return { stream, done: forward(stream, stdout) };
  });
  connected.catch(() => {});
  const stdin = new Writable({
    write: (chunk, _encoding, done) => {
      connected.then(({ stream }) => stream.write(chunk, () => done()), done);
    },
  });
  stdin.on("error", () => {});
  const outputDone = async (code: number) => {
    // crun that failed before it made the terminal never connects.
    if (!terminal && code !== 0) return console.close();
    const { stream, done } = await connected;
    await done;
    stream.destroy();
    terminal = undefined;
  };
  const resize = (next: TerminalSize) => {
    wanted = next;
    if (terminal) setWindowSize(terminal.fd, next.columns, next.rows);
  };
  return { child, stdin, outputDone, resize };
};

/** Copies with back pressure; the end, an error such as EIO of a terminal without processes included, resolves. */
const forward = (from: Socket, to: PassThrough): Promise<void> =>
  new Promise((resolve) => {
    from.on("error", () => {});
    from.once("close", () => resolve());
    from.pipe(to, { end: false });
  });

const readText = (path: string): string => {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
};

/** Shells' codes for a program that is not there or can't be executed; undefined: another failure. */
const refusalCode = (message: string): number | undefined => {
  if (/not found|No such file/i.test(message)) return 127;
  if (/permission denied|not permitted|exec format/i.test(message)) return 126;
  return undefined;
};
