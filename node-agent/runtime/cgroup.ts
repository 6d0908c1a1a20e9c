// Reads and removes the control groups that the OCI runtime made: one hierarchy (v2), or one per controller (v1, also where v2 is
// mounted beside it without controllers).
import { existsSync, readdirSync, readFileSync, rmdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { ContainerStats } from "./runtime.ts";

export type CgroupLayout = { readonly version: 1 | 2; readonly root: string };

/** Documentation/admin-guide/cgroup-v2.rst: a v2 hierarchy has this file in every group, its root included. */
export const detectCgroups = (root = "/sys/fs/cgroup"): CgroupLayout => ({
  version: existsSync(join(root, "cgroup.controllers")) ? 2 : 1,
  root,
});

/** The folders of one group ("/tswarm/id"), in every hierarchy that has it. */
const foldersOf = (layout: CgroupLayout, path: string): string[] =>
  (layout.version === 2 ? [""] : readdirSync(layout.root))
    .map((name) => join(layout.root, name, path))
    .filter(existsSync);

const read = (layout: CgroupLayout, controller: string, path: string, file: string): string | undefined => {
  try {
    return readFileSync(join(layout.root, layout.version === 2 ? "" : controller, path, file), "latin1");
  } catch {
    return undefined;
  }
};

const field = (text: string | undefined, name: string): number =>
  Number(
    text
      ?.split("\n")
      .find((line) => line.startsWith(`${name} `))
      ?.slice(name.length + 1) ?? 0,
  );

/** Has the kernel killed a process of this group for want of memory? False when the group is gone. */
export const wasOomKilled = (layout: CgroupLayout, path: string): boolean =>
  field(read(layout, "memory", path, layout.version === 2 ? "memory.events" : "memory.oom_control"), "oom_kill") > 0;

export const cgroupProcesses = (layout: CgroupLayout, path: string): number[] =>
  (read(layout, "pids", path, "cgroup.procs") ?? "").split("\n").filter(Boolean).map(Number);

/** "max", and v1's largest page-aligned number, mean no limit. */
const limit = (text: string | undefined): number => {
  const bytes = Number(text?.trim());
  return Number.isFinite(bytes) && bytes < 2 ** 62 ? bytes : 0;
};

export const cgroupStats = (layout: CgroupLayout, path: string): ContainerStats => {
  const number = (controller: string, file: string) => Number(read(layout, controller, path, file) ?? 0);
  if (layout.version === 2)
    return {
      cpuUsageUs: field(read(layout, "", path, "cpu.stat"), "usage_usec"),
      memoryBytes: number("", "memory.current"),
      memoryLimitBytes: limit(read(layout, "", path, "memory.max")),
      pids: number("", "pids.current"),
    };
  return {
    cpuUsageUs: Math.round(number("cpuacct", "cpuacct.usage") / 1000),
    memoryBytes: number("memory", "memory.usage_in_bytes"),
    memoryLimitBytes: limit(read(layout, "memory", path, "memory.limit_in_bytes")),
    pids: number("pids", "pids.current"),
  };
};

/**
 * crun 1.8 on v1 writes cgroup.procs into the folder "unified" although no hierarchy is mounted there, and forgets it. A real
 * hierarchy is never touched: on a layout where one is there, crun creates no container.
 */
export const removeStrayFiles = (layout: CgroupLayout, path: string): void => {
  const folder = join(layout.root, "unified", path);
  if (layout.version === 1 && !existsSync(join(layout.root, "unified", "cgroup.procs")))
    rmSync(folder, { recursive: true, force: true });
};

/** Removes a group without processes and children in every hierarchy; one that is still used stays. */
export const removeEmptyCgroup = (layout: CgroupLayout, path: string): void => {
  for (const folder of foldersOf(layout, path))
    try {
      rmdirSync(folder);
    } catch {
      // busy: still used
    }
};
