// Containers by crun, each under its own conmon. What must survive the agent is in one folder per container:
//   <stateDir>/<id>/   config.json, record.json (who runs there), exit (conmon), ctl (conmon's control FIFO)
//   <stateDir>/.crun/  crun's own state
// Started programs per container: conmon, crun create, crun start, crun delete. Ends of processes are events of pidfds.
// The record is written when the container exists; a folder without one is a creation that its agent did not live to see.
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { refuse, TswarmError } from "#base/errors.ts";
import { type Logger, silentLogger } from "#base/log.ts";
import { keepLogSmall, type Rotation } from "#node-agent/logs/rotate.ts";
import {
  cgroupProcesses,
  cgroupStats,
  detectCgroups,
  removeEmptyCgroup,
  removeStrayFiles,
  wasOomKilled,
} from "./cgroup.ts";
import { createWithConmon, readExit, reopenLog } from "./conmon.ts";
import { startExec } from "./exec.ts";
import { hostFacts } from "./host-facts.ts";
import { cgroupPathOf, type OciConfig, ociConfig } from "./oci/bundle.ts";
import { resolveUser } from "./oci/user.ts";
import {
  isAlive,
  type ProcessId,
  type ProcessWatch,
  sendSignal,
  signalNumber,
  startTicks,
  watchProcess,
} from "./pidfd.ts";
import { runProgram } from "./program.ts";
import { readRootfsFile } from "./rootfs-file.ts";
import type { ContainerInfo, ContainerSpec, ExitStatus, Runtime } from "./runtime.ts";

export type CrunOptions = {
  /** Absolute and short: a socket below it must fit in 107 bytes. */
  readonly stateDir: string;
  /** Group below which all containers of this agent are, such as "tswarm"; made when needed. */
  readonly cgroupParent: string;
  readonly crunPath?: string;
  readonly conmonPath?: string;
  /** Default: three files of 10 MB. */
  readonly logRotation?: { readonly maxBytes: number; readonly files: number };
  readonly logger?: Logger;
};

type Record = {
  /** Pids and start times of another boot mean nothing. */
  readonly bootId: string;
  readonly container: ProcessId;
  readonly conmon: ProcessId;
  readonly logPath: string;
  readonly labels: { readonly [name: string]: string };
};
type Entry = Record & {
  readonly id: string;
  readonly bundle: string;
  readonly exit: Promise<ExitStatus>;
  exited?: ExitStatus;
};

/** How long conmon may take to drain the container's output once its first process is gone, before it is killed. */
const DRAIN_MS = 5000;
const SIGKILL = 9;
const BOOT_ID = readFileSync("/proc/sys/kernel/random/boot_id", "latin1").trim();

/** The runtime with the containers of an earlier agent adopted, and what that agent left half-made removed. */
export const openRuntime = async (options: CrunOptions): Promise<CrunRuntime> => {
  const runtime = new CrunRuntime(options);
  await runtime.list();
  return runtime;
};

export class CrunRuntime implements Runtime {
  readonly #options: Required<CrunOptions>;
  readonly #crunRoot: string;
  readonly #cgroups = detectCgroups();
  readonly #host: ReturnType<typeof hostFacts>;
  readonly #entries = new Map<string, Entry>();
  /** Profile → compiled program. As many as there are sets of capabilities in use. */
  readonly #filters = new Map<string, string>();
  readonly #creating = new Set<string>();
  readonly #watches = new Set<ProcessWatch>();
  readonly #rotations = new Map<string, Rotation>();

  constructor(options: CrunOptions) {
    this.#options = {
      crunPath: "/usr/bin/crun",
      conmonPath: "/usr/bin/conmon",
      logRotation: { maxBytes: 10_000_000, files: 3 },
      logger: silentLogger,
      ...options,
    };
    this.#crunRoot = join(options.stateDir, ".crun");
    this.#host = hostFacts(options.cgroupParent);
    mkdirSync(this.#crunRoot, { recursive: true, mode: 0o700 });
  }

  async create(spec: ContainerSpec): Promise<{ pid: number }> {
    const bundle = this.#bundle(spec.id);
    if (existsSync(bundle)) throw refuse("name_conflict", "id", `container ${spec.id} exists`, "Remove it first");
    if (spec.init && !this.#host.initPath) {
      const remedy = "Install tini or catatonit, or leave init out";
      throw refuse("unsupported", "init", "this node has no init program for containers", remedy);
    }
    const read = (path: string) => readRootfsFile(spec.rootfs, path);
    const user = resolveUser(spec.user, read("/etc/passwd"), read("/etc/group"));
    const config = ociConfig(spec, user, this.#host);
    this.#creating.add(spec.id);
    try {
      mkdirSync(bundle, { mode: 0o700 });
      writeFileSync(join(bundle, "config.json"), JSON.stringify(this.#withCompiledFilter(config)));
      const { pid, conmon } = await createWithConmon({
        ...{ conmonPath: this.#options.conmonPath, crunPath: this.#options.crunPath, crunRoot: this.#crunRoot },
        ...{ id: spec.id, bundle, logPath: spec.logPath, tty: spec.tty },
      });
      const record: Record = {
        bootId: BOOT_ID,
        container: { pid, startTicks: startTicks(pid) ?? 0 },
        conmon: { pid: conmon.pid, startTicks: startTicks(conmon.pid) ?? 0 },
        logPath: spec.logPath,
        labels: spec.labels,
      };
      writeFileSync(join(bundle, "record.json"), JSON.stringify(record));
      this.#keepCompiledFilter(spec.id, config);
      this.#adopt(spec.id, record);
      return { pid };
    } catch (e) {
      await this.#forget(spec.id);
      throw e;
    } finally {
      this.#creating.delete(spec.id);
    }
  }

  async start(id: string): Promise<void> {
    this.#entry(id);
    await runProgram(`container ${id} can't be started`, this.#crun("start", id));
  }

  async signal(id: string, signal: string): Promise<void> {
    sendSignal(this.#entry(id).container, signalNumber(signal));
  }

  async stop(id: string, signal: string, graceMs: number): Promise<ExitStatus> {
    const entry = this.#entry(id);
    // A process that has not been started yet can't handle a signal.
    const number = this.#isStarted(id) ? signalNumber(signal) : SIGKILL;
    sendSignal(entry.container, number);
    const timer = setTimeout(() => sendSignal(entry.container, SIGKILL), graceMs);
    try {
      return await entry.exit;
    } finally {
      clearTimeout(timer);
    }
  }

  wait(id: string): Promise<ExitStatus> {
    return this.#entry(id).exit;
  }

  async remove(id: string): Promise<void> {
    if (!existsSync(this.#bundle(id))) return;
    if (existsSync(join(this.#bundle(id), "record.json"))) {
      const entry = this.#entry(id);
      sendSignal(entry.container, SIGKILL);
      const timer = setTimeout(() => sendSignal(entry.conmon, SIGKILL), DRAIN_MS);
      await entry.exit;
      clearTimeout(timer);
    }
    await this.#forget(id);
  }

  async list(): Promise<ContainerInfo[]> {
    const ids = readdirSync(this.#options.stateDir).filter(
      (name) => !name.startsWith(".") && !this.#creating.has(name),
    );
    for (const id of ids) if (!existsSync(join(this.#bundle(id), "record.json"))) await this.#forget(id);
    const known = ids.filter((id) => existsSync(join(this.#bundle(id), "record.json")));
    return Promise.all(known.map((id) => this.#info(this.#entry(id))));
  }

  async exec(id: string, spec: Parameters<Runtime["exec"]>[1]) {
    const entry = this.#entry(id);
    if (!isAlive(entry.container) || !this.#isStarted(id)) {
      const remedy = "Exec into a running one";
      throw refuse("conflict", "container", `container ${id} is not running`, remedy);
    }
    const config: OciConfig = JSON.parse(readFileSync(join(entry.bundle, "config.json"), "utf8"));
    const crun = (logPath: string) => [this.#options.crunPath, `--root=${this.#crunRoot}`, `--log=${logPath}`, "exec"];
    const target = {
      id,
      crun,
      bundle: entry.bundle,
      process: config.process,
      root: `/proc/${entry.container.pid}/root`,
    };
    return startExec(target, spec);
  }

  async pids(id: string): Promise<number[]> {
    this.#entry(id);
    return cgroupProcesses(this.#cgroups, this.#cgroup(id));
  }

  async stats(id: string) {
    this.#entry(id);
    return cgroupStats(this.#cgroups, this.#cgroup(id));
  }

  close(): void {
    for (const watch of this.#watches) watch.close();
    this.#watches.clear();
    for (const rotation of this.#rotations.values()) rotation.close();
    this.#rotations.clear();
    this.#entries.clear();
  }

  /** Removes all containers and the cgroup that held them: nothing of this runtime is left but the empty state folder. */
  async teardown(): Promise<void> {
    const ids = readdirSync(this.#options.stateDir).filter((name) => !name.startsWith("."));
    await Promise.all(ids.map((id) => this.remove(id)));
    removeStrayFiles(this.#cgroups, `/${this.#options.cgroupParent}`);
    removeEmptyCgroup(this.#cgroups, `/${this.#options.cgroupParent}`);
    rmSync(this.#crunRoot, { recursive: true, force: true });
    this.close();
  }

  #bundle(id: string): string {
    if (!/^[A-Za-z0-9][A-Za-z0-9_.-]*$/.test(id))
      throw refuse("invalid", "id", `"${id}" is no container id`, "Use letters, digits, dot, dash and underscore");
    return join(this.#options.stateDir, id);
  }

  #cgroup(id: string): string {
    return cgroupPathOf(this.#options.cgroupParent, id);
  }

  #crun(...args: string[]): string[] {
    return [this.#options.crunPath, `--root=${this.#crunRoot}`, ...args];
  }

  /** The created process waits at a FIFO that `crun start` opens and removes. */
  #isStarted(id: string): boolean {
    return !existsSync(join(this.#crunRoot, id, "exec.fifo"));
  }

  #entry(id: string): Entry {
    const known = this.#entries.get(id);
    if (known) return known;
    let text: string;
    try {
      text = readFileSync(join(this.#bundle(id), "record.json"), "utf8");
    } catch (cause) {
      throw new TswarmError("not_found", `container ${id}: there is none on this node`, { cause });
    }
    const record: Record = JSON.parse(text);
    if (record.bootId === BOOT_ID) return this.#adopt(id, record);
    const nobody = { pid: record.container.pid, startTicks: -1 };
    return this.#adopt(id, { ...record, container: nobody, conmon: nobody });
  }

  #adopt(id: string, record: Record): Entry {
    const entry: Entry = { ...record, id, bundle: this.#bundle(id), exit: this.#exitOf(id, record) };
    void entry.exit.then((exit) => {
      entry.exited = exit;
      this.#rotations.get(id)?.close();
    });
    this.#entries.set(id, entry);
    if (isAlive(entry.conmon)) this.#rotations.set(id, this.#rotateLog(entry));
    return entry;
  }

  /**
   * libseccomp needs 10 ms for the filter, nearly half of a creation. crun leaves the compiled program in its state, and takes it
   * back by an annotation; without it, it compiles `linux.seccomp`, so a container never goes without a filter.
   */
  #withCompiledFilter(config: OciConfig): OciConfig {
    const compiled = this.#filters.get(JSON.stringify(config.linux.seccomp));
    if (!compiled) return config;
    return { ...config, annotations: { ...config.annotations, "run.oci.seccomp_bpf_data": compiled } };
  }

  #keepCompiledFilter(id: string, config: OciConfig): void {
    const key = JSON.stringify(config.linux.seccomp);
    const path = join(this.#crunRoot, id, "seccomp.bpf");
    if (!this.#filters.has(key) && existsSync(path)) this.#filters.set(key, readFileSync(path, "base64"));
  }

  #rotateLog({ id, logPath, bundle }: Entry): Rotation {
    const { maxBytes, files } = this.#options.logRotation;
    const onError = (error: unknown) => this.#options.logger.warn("log not rotated", { container: id, error });
    return keepLogSmall({ path: logPath, maxBytes, files, reopen: () => reopenLog(bundle), onError });
  }

  /** conmon writes the exit code before it ends. When somebody killed conmon the container goes on, and its code is lost. */
  async #exitOf(id: string, record: Record): Promise<ExitStatus> {
    await this.#gone(record.conmon);
    await this.#gone(record.container);
    const exit = readExit(this.#bundle(id)) ?? { code: 255, at: Date.now() };
    return { ...exit, oomKilled: wasOomKilled(this.#cgroups, this.#cgroup(id)) };
  }

  async #gone(process: ProcessId): Promise<void> {
    if (!isAlive(process)) return;
    await new Promise<void>((resolve) => {
      const watch = watchProcess(process.pid, () => {
        this.#watches.delete(watch);
        resolve();
      });
      this.#watches.add(watch);
    });
  }

  async #info(entry: Entry): Promise<ContainerInfo> {
    const { id, logPath, labels, container } = entry;
    const running = isAlive(container) || isAlive(entry.conmon);
    if (running && !entry.exited)
      return { id, logPath, labels, pid: container.pid, state: this.#isStarted(id) ? "running" : "created" };
    return { id, logPath, labels, pid: container.pid, state: "exited", exit: await entry.exit };
  }

  async #forget(id: string): Promise<void> {
    const deleted = runProgram(`container ${id} can't be deleted`, this.#crun("delete", "--force", id));
    await deleted.catch((e) => {
      // Never created, or deleted by an earlier attempt that did not come to its end.
      if (existsSync(join(this.#crunRoot, id))) throw e;
    });
    removeStrayFiles(this.#cgroups, this.#cgroup(id));
    this.#rotations.get(id)?.close();
    this.#rotations.delete(id);
    rmSync(this.#bundle(id), { recursive: true, force: true });
    this.#entries.delete(id);
  }
}
