// What a machine has that tswarm makes: compared before and after, it shows whether anything is left behind.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { cgroupRoots, run } from "#test-cluster/netns/system.ts";

export type Footprint = Readonly<Record<string, readonly string[]>>;

const lines = (text: string): string[] =>
  text
    .split("\n")
    .map((l) => l.trim())
    .filter((l) => l !== "")
    .sort();

/** `marks`: what processes and folders of the cluster under test have in their names; others may run beside it. */
export const footprint = (marks: readonly string[]): Footprint => {
  const ours = (text: string) => marks.some((m) => text.includes(m));
  const processes: string[] = [];
  for (const pid of readdirSync("/proc").filter((p) => /^\d+$/.test(p))) {
    try {
      const command = readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ").trim();
      if (ours(command) && Number(pid) !== process.pid) processes.push(`${pid} ${command}`);
    } catch {
      // It ended while the list was read.
    }
  }
  return {
    namespaces: lines(run("ip", ["netns", "list"])).filter(ours),
    links: lines(run("ip", ["-o", "link"]).replace(/^\d+: ([^:@]+).*$/gm, "$1")),
    tables: lines(run("nft", ["list", "tables"])),
    mounts: lines(readFileSync("/proc/self/mountinfo", "utf8")).filter(ours),
    cgroups: cgroupRoots().flatMap((root) =>
      readdirSync(root)
        .filter(ours)
        .map((name) => `${root}/${name}`),
    ),
    folders: existsSync("/var/lib/tswarm-test") ? readdirSync("/var/lib/tswarm-test").filter(ours) : [],
    processes,
  };
};
