// The few things of the host that a test cluster needs: namespaces, cgroups, processes. Tests and demos only: the product
// itself spawns none of these programs.
import { type ExecFileSyncOptions, execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

export const run = (command: string, args: readonly string[], options: ExecFileSyncOptions = {}): string =>
  execFileSync(command, args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"], ...options }) as string;

/** Hierarchies in which a node's processes are gathered: every v1 controller that is mounted, and v2. */
export const cgroupRoots = (): string[] => {
  const base = "/sys/fs/cgroup";
  if (existsSync(join(base, "cgroup.procs"))) return [base];
  return readdirSync(base, { withFileTypes: true })
    .filter((e) => e.isDirectory() && existsSync(join(base, e.name, "cgroup.procs")))
    .map((e) => join(base, e.name));
};

/** Moves `pid` into the cgroup `path` of the hierarchies that can take it. */
export const joinCgroup = (path: string, pid: number): void => {
  for (const root of cgroupRoots()) {
    // A cpuset without CPUs takes no process, and no node needs one of its own.
    if (root.endsWith("/cpuset")) continue;
    mkdirSync(join(root, path), { recursive: true });
    writeFileSync(join(root, path, "cgroup.procs"), String(pid));
  }
};

const below = (dir: string): string[] =>
  existsSync(dir)
    ? readdirSync(dir, { withFileTypes: true })
        .filter((e) => e.isDirectory())
        .flatMap((e) => [...below(join(dir, e.name)), join(dir, e.name)])
    : [];

export const cgroupProcesses = (path: string): number[] => {
  const pids = new Set<number>();
  for (const root of cgroupRoots())
    for (const dir of [...below(join(root, path)), join(root, path)]) {
      try {
        for (const pid of readFileSync(join(dir, "cgroup.procs"), "utf8").split("\n"))
          if (pid !== "") pids.add(Number(pid));
      } catch (error) {
        if (!["ENOENT", "ENODEV"].includes((error as NodeJS.ErrnoException).code ?? "")) throw error;
      }
    }
  return [...pids];
};

export const removeCgroup = (path: string): void => {
  for (const root of cgroupRoots())
    for (const dir of [...below(join(root, path)), join(root, path)]) if (existsSync(dir)) rmdirSync(dir);
};

export const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Kills everything in the cgroup, again until nothing is left: a process may fork meanwhile. */
export const killCgroup = async (path: string, timeoutMs = 10_000): Promise<void> => {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    const pids = cgroupProcesses(path);
    if (pids.length === 0) return;
    if (Date.now() > deadline) throw new Error(`processes ${pids.join(", ")} of ${path} do not end`);
    for (const pid of pids) {
      try {
        process.kill(pid, "SIGKILL");
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
      }
    }
    await sleep(20);
  }
};

export const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
    return readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.[0] !== "Z";
  } catch {
    return false;
  }
};
