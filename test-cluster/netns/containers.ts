// What really runs on the hosts of a test cluster, whatever the control plane believes: containers by their cgroups.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { TestCluster } from "#test-cluster/netns/cluster.ts";
import { cgroupRoots, run } from "#test-cluster/netns/system.ts";

export type LiveContainer = {
  readonly node: string;
  readonly taskId: string;
  /** Of the container's first process, with its start time: the same pair is the same process. */
  readonly pid: number;
  readonly startedAt: number;
};

/** Process 1 of its own pid namespace (proc(5), NSpid); undefined when it has ended meanwhile. */
const firstOf = (pid: number): { readonly pid: number; readonly startedAt: number } | undefined => {
  try {
    const inner = /^NSpid:\s+\d+\s+(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return inner === "1" && fields[0] !== "Z" ? { pid, startedAt: Number(fields[19]) } : undefined;
  } catch {
    return undefined;
  }
};

const list = (path: string): string[] => {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
};

const processesIn = (cgroup: string): number[] => {
  try {
    return readFileSync(join(cgroup, "cgroup.procs"), "utf8").split("\n").filter(Boolean).map(Number);
  } catch {
    return [];
  }
};

export const liveContainers = (cluster: TestCluster): LiveContainer[] => {
  const root = cgroupRoots().find((r) => list(join(r, cluster.layout.cgroup)).length > 0)!;
  return cluster.layout.nodes.flatMap((node) => {
    const parent = join(root, node.cgroup, "containers");
    return list(parent).flatMap((taskId) =>
      processesIn(join(parent, taskId)).flatMap((pid) => {
        const first = firstOf(pid);
        return first ? [{ node: node.name, taskId, ...first }] : [];
      }),
    );
  });
};

/** Runs a program of the machine in the container's network, without any help of the agent. */
export const inNetworkOf = (container: LiveContainer, ...command: string[]): string =>
  run("nsenter", [`--net=/proc/${container.pid}/ns/net`, ...command]);

/** Global addresses on the container's links; none when it ends just now. */
export const addressesOf = (container: LiveContainer): string[] => {
  try {
    const links = JSON.parse(inNetworkOf(container, "ip", "-j", "addr", "show", "scope", "global"));
    return links.flatMap((link: { ifname: string; addr_info: { local: string }[] }) =>
      link.ifname.startsWith("eth") ? link.addr_info.map((a) => a.local) : [],
    );
  } catch (error) {
    if (liveContainer(container)) throw error;
    return [];
  }
};

const liveContainer = ({ pid, startedAt }: LiveContainer): boolean => firstOf(pid)?.startedAt === startedAt;
