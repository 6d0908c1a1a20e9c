// One virtual machine in software emulation: Debian's kernel, cgroup v2 only, the project read-only at /project, no network
// but what is made inside. Commands go over a virtio port, one at a time. The machine ends with `stop`, when a command takes too
// long, and when this process dies, however it dies.
import { type ChildProcess, type StdioOptions, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { closeSync, constants, openSync } from "node:fs";
import { resolve } from "node:path";
import type { Readable } from "node:stream";
import { run as runProgram } from "#test-cluster/netns/system.ts";
import { type Answer, answerReader } from "./answer.ts";
import { bootFilesFolder, ensureBootFiles } from "./root-image.ts";

export type RunOptions = {
  readonly timeoutMs?: number;
  /** Gets the output as it comes. */
  readonly onOutput?: (text: string) => void;
};
export type Vm = {
  /** A shell script in /project, stdout and stderr as one. Rejects when the machine ends or time is up; the machine is gone then. */
  run(script: string, options?: RunOptions): Promise<Answer>;
  /** Kills the machine and waits for its end. Idempotent. */
  stop(): Promise<void>;
};

const BOOT_TIMEOUT_MS = 120_000;
const CONSOLE_CHARACTERS = 16_384;
/** asm-generic/fcntl.h, O_DIRECTORY included; Node has no name for it. */
const O_TMPFILE = 0o20200000;
const projectRoot = resolve(import.meta.dirname, "../..");

export const startVm = async (): Promise<Vm> => {
  const { kernel, initrd, root } = ensureBootFiles();
  const project = packProject();
  // One processor: two are no faster, and V8 once found its tables of compiled code damaged on two emulated ones.
  // The emulator opens the project's disk as its descriptor 3.
  const args = [
    ...["-accel", "tcg,tb-size=128", "-cpu", "max", "-m", "768"],
    ...["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"],
    ...["-kernel", kernel, "-initrd", initrd, "-append", "console=ttyS0 quiet panic=-1"],
    ...[root, "/proc/self/fd/3"].flatMap((file) => ["-drive", `if=virtio,format=raw,readonly=on,file=${file}`]),
    ...["-device", "virtio-serial-pci", "-device", "virtserialport,chardev=port"],
    ...["-chardev", "stdio,id=port,signal=off", "-chardev", "socket,id=console,fd=4", "-serial", "chardev:console"],
  ];
  // setpriv becomes the emulator: it has the same pid, and the kernel kills it with this process.
  const machine = spawn("setpriv", ["--pdeathsig", "KILL", "qemu-system-x86_64", ...args], {
    stdio: ["pipe", "pipe", "pipe", project, "pipe"],
  });
  closeSync(project);
  const vm = commandsOf(machine);
  await vm.run("true", { timeoutMs: BOOT_TIMEOUT_MS });
  return vm;
};

/** The project as it is now, as a disk: 2 s. A descriptor of a file without a name, of which nothing can be left over. */
const packProject = (attempts = 3): number => {
  const disk = openSync(bootFilesFolder, O_TMPFILE | constants.O_RDWR, 0o600);
  const without = [".git", "build"].map((name) => `--exclude-path=${name}`);
  const stdio: StdioOptions = ["ignore", "pipe", "pipe", disk];
  try {
    runProgram("mkfs.erofs", ["--quiet", ...without, "/proc/self/fd/3", projectRoot], { stdio });
    return disk;
  } catch (error) {
    closeSync(disk);
    // An editor or a test may remove a file under its hands.
    if (attempts === 1) throw error;
    return packProject(attempts - 1);
  }
};

const commandsOf = (machine: ChildProcess): Vm => {
  let console = "";
  for (const stream of [machine.stderr, machine.stdio[4]] as Readable[])
    stream.setEncoding("utf8").on("data", (text: string) => {
      console = (console + text).slice(-CONSOLE_CHARACTERS);
    });
  const ended = new Promise<string>((done) => {
    machine.once("error", (error) => done(error.message));
    machine.once("close", (code, signal) => done(`it ended (${signal ?? code})`));
  });
  // Written to a machine that has ended: `ended` tells it.
  machine.stdin!.on("error", () => {});
  machine.stdout!.setEncoding("utf8");

  const stop = async (): Promise<void> => {
    machine.kill("SIGKILL");
    await ended;
  };
  const run: Vm["run"] = async (script, { timeoutMs = 60_000, onOutput = () => {} } = {}) => {
    const mark = `tswarm-vm-${randomBytes(8).toString("hex")}`;
    const reader = answerReader(mark, onOutput);
    let onData = (_: string): void => {};
    const answer = new Promise<Answer>((done) => {
      onData = (text) => {
        const whole = reader.take(text);
        if (whole) done(whole);
      };
    });
    machine.stdout!.on("data", onData);
    let timer: NodeJS.Timeout | undefined;
    const tooLong = new Promise<string>((done) => {
      timer = setTimeout(done, timeoutMs, `no answer within ${timeoutMs / 1000} s`);
    });
    try {
      machine.stdin!.write(`${mark} ${Buffer.from(script).toString("base64")}\n`);
      const outcome = await Promise.race([answer, ended, tooLong]);
      if (typeof outcome === "object") return outcome;
      await stop();
      throw new Error(`the virtual machine is gone: ${outcome}\n${reader.text()}\n-- its console:\n${console}`);
    } finally {
      clearTimeout(timer);
      machine.stdout!.off("data", onData);
    }
  };
  return { run, stop };
};
