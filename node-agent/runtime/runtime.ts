// The runtime as the agent sees it: containers by id, one call per transition. `CrunRuntime` is the real one, `FakeRuntime` the
// one for tests of the agent. Containers outlive the process that made them; `list` finds them again.
import type { Mount } from "#proto/gen/types.ts";

export type Limits = {
  /** 0: no limit. */
  readonly memoryBytes: number;
  /** 1e9 is one CPU; 0: no limit. */
  readonly nanoCpus: number;
  /** Processes and threads; 0: no limit. */
  readonly pids: number;
};

export type FileMount = {
  readonly path: "/etc/hosts" | "/etc/resolv.conf" | "/etc/hostname";
  readonly hostPath: string;
};

export type ContainerSpec = {
  /** Task id; also the name of the container in the OCI runtime. */
  readonly id: string;
  readonly taskName: string;
  /** Mounted root filesystem, absolute. */
  readonly rootfs: string;
  /** A network namespace that exists, or the one the agent runs in. */
  readonly netns: { readonly path: string } | "host";
  readonly hostname: string;
  readonly args: readonly string[];
  /** NAME=value; PATH, HOME, HOSTNAME and, on a terminal, TERM have defaults. */
  readonly env: readonly string[];
  readonly cwd: string;
  /** "name|uid[:group|gid]", looked up in the root filesystem; empty: root. */
  readonly user: string;
  readonly tty: boolean;
  readonly readOnly: boolean;
  /** A small init process becomes process 1 and reaps. */
  readonly init: boolean;
  readonly mounts: readonly Mount[];
  readonly files: readonly FileMount[];
  readonly limits: Limits;
  /** With or without "CAP_"; "ALL" is understood. */
  readonly capAdd: readonly string[];
  readonly capDrop: readonly string[];
  readonly sysctls: Readonly<Record<string, string>>;
  readonly labels: Readonly<Record<string, string>>;
  /** Log file of both streams in k8s-file format; its folder exists. */
  readonly logPath: string;
};

export type ExitStatus = {
  /** 128 + signal number when a signal ended it; 255 when nobody was there to see it. */
  readonly code: number;
  readonly oomKilled: boolean;
  /** Wall clock, ms. */
  readonly at: number;
};

export type ContainerState = "created" | "running" | "exited";
export type ContainerInfo = {
  readonly id: string;
  readonly pid: number;
  readonly state: ContainerState;
  readonly exit?: ExitStatus;
  readonly logPath: string;
  readonly labels: Readonly<Record<string, string>>;
};

export type TerminalSize = { readonly columns: number; readonly rows: number };
export type ExecSpec = {
  readonly args: readonly string[];
  /** Added to the container's environment. */
  readonly env?: readonly string[];
  readonly cwd?: string;
  readonly user?: string;
  readonly tty?: boolean;
  readonly size?: TerminalSize;
};

export type ExecHandle = {
  /** Ends by `end()`: the process then reads end of file. */
  readonly stdin: NodeJS.WritableStream;
  /** With a terminal: everything it shows. */
  readonly stdout: NodeJS.ReadableStream;
  /** With a terminal: empty and ended. */
  readonly stderr: NodeJS.ReadableStream;
  /** Without a terminal: does nothing. */
  resize(size: TerminalSize): void;
  /** The exit code, 128 + signal number, 126 not executable, 127 not found. Rejects when the exec could not start for another reason. */
  readonly exit: Promise<number>;
  /** SIGKILL by default. */
  kill(signal?: string): void;
};

export type ContainerStats = {
  readonly cpuUsageUs: number;
  readonly memoryBytes: number;
  /** 0: no limit. */
  readonly memoryLimitBytes: number;
  readonly pids: number;
};

export type Runtime = {
  /** Everything but the user's process: after this, `start` only lets it run. Refuses an id that exists (`name_conflict`). */
  create(spec: ContainerSpec): Promise<{ pid: number }>;
  start(id: string): Promise<void>;
  /** To the container's first process. Does nothing when it has exited. */
  signal(id: string, signal: string): Promise<void>;
  /** The signal, then SIGKILL after the grace period; resolves when it has exited. */
  stop(id: string, signal: string, graceMs: number): Promise<ExitStatus>;
  wait(id: string): Promise<ExitStatus>;
  /** Kills what runs and forgets the container: processes, cgroup, state folder. Not the root filesystem, netns and log. Idempotent. */
  remove(id: string): Promise<void>;
  /** All containers that this runtime's state folder knows, whoever created them. */
  list(): Promise<ContainerInfo[]>;
  exec(id: string, spec: ExecSpec): Promise<ExecHandle>;
  /** Host process ids. */
  pids(id: string): Promise<number[]>;
  stats(id: string): Promise<ContainerStats>;
  /** Stops watching; containers go on. */
  close(): void;
};
