// ContainerSpec → config.json of the OCI runtime specification 1.0, with Docker's defaults for what a container may see and do.
// Pure: what depends on the host comes in as `HostFacts`, the user is resolved already.
import type { Mount } from "#proto/gen/types.ts";
import type { ContainerSpec, Limits } from "../runtime.ts";
import { containerCapabilities } from "./capabilities.ts";
import { defaultSeccomp, type Seccomp } from "./seccomp.ts";
import type { ResolvedUser } from "./user.ts";

export type HostFacts = {
  readonly arch: "x64" | "arm64";
  /** What the agent may give away. */
  readonly capabilities: readonly string[];
  /** The agent's own hard limit of open files: it can't give more without CAP_SYS_RESOURCE. */
  readonly maxOpenFiles: number;
  /** Folder below the root of every cgroup hierarchy, without slashes at the ends. */
  readonly cgroupParent: string;
  /** A static init (tini, catatonit) on the host; undefined: none is installed. */
  readonly initPath: string | undefined;
};

type OciMount = { destination: string; type: string; source: string; options: string[] };
type CapabilitySets = Record<"bounding" | "effective" | "permitted", string[]>;
export type OciProcess = {
  terminal: boolean;
  consoleSize?: { height: number; width: number };
  user: { uid: number; gid: number; additionalGids: number[] };
  args: string[];
  env: string[];
  cwd: string;
  capabilities: CapabilitySets;
  rlimits: { type: string; soft: number; hard: number }[];
  noNewPrivileges: boolean;
};
export type OciResources = {
  devices: { allow: boolean; access: string; type?: string; major?: number; minor?: number }[];
  memory?: { limit: number; swap: number };
  cpu?: { quota?: number; period?: number };
  pids?: { limit: number };
};
export type OciConfig = {
  ociVersion: string;
  hostname: string;
  root: { path: string; readonly: boolean };
  process: OciProcess;
  mounts: OciMount[];
  annotations: Record<string, string>;
  linux: {
    cgroupsPath: string;
    namespaces: { type: string; path?: string }[];
    resources: OciResources;
    sysctl: Record<string, string>;
    maskedPaths: string[];
    readonlyPaths: string[];
    seccomp: Seccomp;
  };
};

const PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/** Where the host's init appears in a container; the place Docker uses. */
const INIT_TARGET = "/sbin/docker-init";
const CPU_PERIOD_US = 100_000;
/** Docker's soft and hard limit of open files. */
const OPEN_FILES = 1_048_576;

const MASKED = `/proc/asound /proc/acpi /proc/interrupts /proc/kcore /proc/keys /proc/latency_stats /proc/timer_list
  /proc/timer_stats /proc/sched_debug /proc/scsi /sys/firmware /sys/devices/virtual/powercap`.split(/\s+/);
const READONLY = "/proc/bus /proc/fs /proc/irq /proc/sys /proc/sysrq-trigger".split(" ");

const SYSTEM_MOUNTS: readonly OciMount[] = [
  { destination: "/proc", type: "proc", source: "proc", options: ["nosuid", "noexec", "nodev"] },
  {
    destination: "/dev",
    type: "tmpfs",
    source: "tmpfs",
    options: ["nosuid", "strictatime", "mode=755", "size=65536k"],
  },
  {
    destination: "/dev/pts",
    type: "devpts",
    source: "devpts",
    options: ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
  },
  { destination: "/sys", type: "sysfs", source: "sysfs", options: ["nosuid", "noexec", "nodev", "ro"] },
  { destination: "/sys/fs/cgroup", type: "cgroup", source: "cgroup", options: ["nosuid", "noexec", "nodev", "ro"] },
  { destination: "/dev/mqueue", type: "mqueue", source: "mqueue", options: ["nosuid", "noexec", "nodev"] },
  {
    destination: "/dev/shm",
    type: "tmpfs",
    source: "shm",
    options: ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"],
  },
];

/** linux/kdev_t.h numbers: every device node may be made; null, zero, full, random, urandom, tty, ptmx and terminals may be used. */
const DEVICES: OciResources["devices"] = [
  { allow: false, access: "rwm" },
  { allow: true, type: "c", access: "m" },
  { allow: true, type: "b", access: "m" },
  ...[3, 5, 7, 8, 9].map((minor) => ({ allow: true, type: "c", major: 1, minor, access: "rwm" })),
  { allow: true, type: "c", major: 5, minor: 0, access: "rwm" },
  { allow: true, type: "c", major: 5, minor: 2, access: "rwm" },
  { allow: true, type: "c", major: 136, access: "rwm" },
];

const userMount = (mount: Mount): OciMount =>
  mount.type === "tmpfs"
    ? {
        destination: mount.target,
        type: "tmpfs",
        source: "tmpfs",
        options: [
          ...["nosuid", "nodev", "noexec", "mode=1777"],
          ...(mount.tmpfsSizeBytes > 0 ? [`size=${mount.tmpfsSizeBytes}`] : []),
          ...(mount.readOnly ? ["ro"] : []),
        ],
      }
    : {
        destination: mount.target,
        type: "bind",
        source: mount.source,
        options: ["rbind", "rprivate", mount.readOnly ? "ro" : "rw"],
      };

const resources = (limits: Limits): OciResources => ({
  devices: DEVICES,
  // As Docker without --memory-swap: memory and swap together are twice the memory.
  ...(limits.memoryBytes > 0 && { memory: { limit: limits.memoryBytes, swap: 2 * limits.memoryBytes } }),
  ...(limits.nanoCpus > 0 && {
    // The kernel refuses a quota below 1 ms.
    cpu: { period: CPU_PERIOD_US, quota: Math.max(1000, Math.round((limits.nanoCpus * CPU_PERIOD_US) / 1e9)) },
  }),
  ...(limits.pids > 0 && { pids: { limit: limits.pids } }),
});

/** A user who is not root starts without effective capabilities, and can get back what is in the bounding set by a setuid program. */
const capabilitySets = (capabilities: string[], uid: number): CapabilitySets => {
  const held = uid === 0 ? capabilities : [];
  return { bounding: capabilities, effective: held, permitted: held };
};

/** Depth-first order, so that a mount never hides one below it. */
const byDepth = (a: OciMount, b: OciMount): number =>
  a.destination.split("/").filter(Boolean).length - b.destination.split("/").filter(Boolean).length;

/** Cgroup of a container below the root of each hierarchy: "/parent/id". */
export const cgroupPathOf = (cgroupParent: string, id: string): string => `/${cgroupParent}/${id}`;

/** The environment with PATH, HOME, HOSTNAME and TERM where the spec does not set them, in Docker's order. */
const environment = (spec: ContainerSpec, user: ResolvedUser): string[] => {
  const defaults = [PATH, `HOSTNAME=${spec.hostname}`, ...(spec.tty ? ["TERM=xterm"] : []), `HOME=${user.home}`];
  const names = new Set(spec.env.map((entry) => entry.split("=", 1)[0]));
  return [...defaults.filter((entry) => !names.has(entry.split("=", 1)[0])), ...spec.env];
};

/** `refuse`s unknown capabilities; the caller has checked that init is available when the spec wants it. */
export const ociConfig = (spec: ContainerSpec, user: ResolvedUser, host: HostFacts): OciConfig => {
  const capabilities = containerCapabilities(spec.capAdd, spec.capDrop, host.capabilities);
  const openFiles = Math.min(OPEN_FILES, host.maxOpenFiles);
  const init = spec.init ? [{ ...bindReadOnly(host.initPath ?? ""), destination: INIT_TARGET }] : [];
  const files = spec.files.map((file) => ({
    destination: file.path,
    type: "bind",
    source: file.hostPath,
    options: ["rbind", "rprivate", "rw"],
  }));
  const overridden = new Set(spec.mounts.map((mount) => mount.target));
  const system = SYSTEM_MOUNTS.filter((mount) => !overridden.has(mount.destination));
  return {
    ociVersion: "1.0.2",
    hostname: spec.hostname,
    root: { path: spec.rootfs, readonly: spec.readOnly },
    process: {
      terminal: spec.tty,
      user: { uid: user.uid, gid: user.gid, additionalGids: [...user.additionalGids] },
      args: spec.init ? [INIT_TARGET, "--", ...spec.args] : [...spec.args],
      env: environment(spec, user),
      cwd: spec.cwd === "" ? "/" : spec.cwd,
      capabilities: capabilitySets(capabilities, user.uid),
      rlimits: [{ type: "RLIMIT_NOFILE", soft: openFiles, hard: openFiles }],
      noNewPrivileges: false,
    },
    mounts: [...system, ...[...files, ...init, ...spec.mounts.map(userMount)].toSorted(byDepth)],
    annotations: { "org.tswarm.task": spec.id, "org.tswarm.task.name": spec.taskName },
    linux: {
      cgroupsPath: cgroupPathOf(host.cgroupParent, spec.id),
      namespaces: [
        ...["pid", "ipc", "uts", "mount", "cgroup"].map((type) => ({ type })),
        ...(spec.netns === "host" ? [] : [{ type: "network", path: spec.netns.path }]),
      ],
      resources: resources(spec.limits),
      sysctl: {
        // In its own network namespace a container may open low ports and ping without capabilities, as with Docker since 20.10.
        ...(spec.netns !== "host" && {
          "net.ipv4.ip_unprivileged_port_start": "0",
          "net.ipv4.ping_group_range": "0 2147483647",
        }),
        ...spec.sysctls,
      },
      maskedPaths: MASKED,
      readonlyPaths: READONLY,
      seccomp: defaultSeccomp(host.arch, capabilities),
    },
  };
};

const bindReadOnly = (source: string): Omit<OciMount, "destination"> => ({
  type: "bind",
  source,
  options: ["bind", "rprivate", "ro"],
});

/** The process object of an exec: the container's own with what the caller changes. */
export const execProcess = (
  container: OciProcess,
  change: { args: readonly string[]; env: readonly string[]; cwd: string | undefined; tty: boolean },
  user: ResolvedUser | undefined,
  size: { columns: number; rows: number } | undefined,
): OciProcess => {
  const replaced = new Set(change.env.map((entry) => entry.split("=", 1)[0]));
  if (user) replaced.add("HOME");
  const inherited = container.env.filter((entry) => !replaced.has(entry.split("=", 1)[0]));
  const hasTerm = [...inherited, ...change.env].some((entry) => entry.startsWith("TERM="));
  return {
    ...container,
    terminal: change.tty,
    ...(size && { consoleSize: { height: size.rows, width: size.columns } }),
    args: [...change.args],
    env: [
      ...inherited,
      ...(user && !change.env.some((entry) => entry.startsWith("HOME=")) ? [`HOME=${user.home}`] : []),
      ...(change.tty && !hasTerm ? ["TERM=xterm"] : []),
      ...change.env,
    ],
    cwd: change.cwd ?? container.cwd,
    ...(user && {
      user: { uid: user.uid, gid: user.gid, additionalGids: [...user.additionalGids] },
      capabilities: capabilitySets(container.capabilities.bounding, user.uid),
    }),
  };
};
