// The faults themselves: signals to real processes, rules in the network namespace of a test host, a folder that is full.
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import type { Fault } from "#test-cluster/nemesis/plan.ts";
import { ROOT, type TestCluster } from "#test-cluster/netns/cluster.ts";
import { cgroupProcesses, isAlive, sleep } from "#test-cluster/netns/system.ts";

/** Of the small disk on which a node keeps its data. */
const DISK_MIB = 192;
const TABLE = "nemesis";

export type Victim = { readonly cluster: TestCluster; readonly name: string; readonly other: string };

/** Gives a node's data folder a disk of its own; before its agent starts. It goes with the host's mount namespace. */
export const smallDisk = (cluster: TestCluster, name: string): void => {
  cluster.onHost(
    name,
    "mount",
    "-t",
    "tmpfs",
    "-o",
    `size=${DISK_MIB}m`,
    "tmpfs",
    join(cluster.node(name).dir, "data"),
  );
};

const signal = (pids: readonly number[], name: NodeJS.Signals): void => {
  for (const pid of pids) if (pid !== 0 && isAlive(pid)) process.kill(pid, name);
};

const dead = async (pids: readonly number[]): Promise<void> => {
  while (pids.some((pid) => pid !== 0 && isAlive(pid))) await sleep(10);
};

const cut = ({ cluster, name }: Victim, rules: readonly string[]): void => {
  const chains = ["input", "output"].map(
    (hook) => `add chain inet ${TABLE} ${hook} { type filter hook ${hook} priority -300; }`,
  );
  cluster.onHost(
    name,
    "nft",
    [`add table inet ${TABLE}`, ...chains, ...rules.map((r) => `add rule inet ${TABLE} ${r}`)].join("; "),
  );
};

/** Takes every rule away; there may be none. */
export const mend = (cluster: TestCluster, name: string): void => {
  cluster.onHost(name, "nft", `add table inet ${TABLE}; delete table inet ${TABLE}`);
};

const filler = (cluster: TestCluster, name: string): string => join(cluster.node(name).dir, "data/filler");

export const emptyDisk = (cluster: TestCluster, name: string): void => {
  cluster.onHost(name, "rm", "-f", filler(cluster, name));
};

/** As a user does it on any other node, without holding up the clients of this process. Throws what the last one said. */
export const changeRole = async (cluster: TestCluster, name: string, role: "demote" | "promote"): Promise<void> => {
  let refusal: unknown;
  for (const asked of cluster.layout.nodes.filter((node) => node.name !== name)) {
    const host = ["--host", `unix:${asked.socket}`];
    try {
      await promisify(execFile)(join(ROOT, "bin/tsctl"), [...host, "node", role, name], { timeout: 60_000 });
      return;
    } catch (error) {
      refusal = error;
    }
  }
  throw refusal;
};

/**
 * Does the harm and resolves with what undoes it. Either may find that the node is in no state for it (no manager runs, no
 * quorum): then that part is left out.
 */
export const inflict = async (victim: Victim, { kind }: Fault): Promise<() => Promise<void>> => {
  const { cluster, name, other } = victim;
  const manager = cluster.managerPid(name);
  const agent = cluster.agentPid(name);
  const nothing = async (): Promise<void> => {};
  switch (kind) {
    case "kill-manager":
      signal([manager], "SIGKILL");
      return nothing;
    case "end-manager":
      signal([manager], "SIGTERM");
      return nothing;
    case "kill-node":
      signal([agent, manager], "SIGKILL");
      await dead([agent, manager]);
      return () => restart(cluster, name);
    case "pause-manager":
      signal([manager], "SIGSTOP");
      return async () => signal([manager], "SIGCONT");
    case "pause-node":
      signal([agent, manager], "SIGSTOP");
      return async () => signal([agent, manager], "SIGCONT");
    case "cut":
      cut(victim, [`input iifname "eth0" drop`, `output oifname "eth0" drop`]);
      return async () => mend(cluster, name);
    case "deaf":
      cut(victim, [`input iifname "eth0" drop`]);
      return async () => mend(cluster, name);
    case "mute":
      cut(victim, [`output oifname "eth0" drop`]);
      return async () => mend(cluster, name);
    case "split":
      cut(victim, [
        `input ip saddr ${cluster.node(other).ipv4} drop`,
        `output ip daddr ${cluster.node(other).ipv4} drop`,
      ]);
      return async () => mend(cluster, name);
    case "full-disk":
      // Ends with an error when there is no room left, which is what it is for.
      cluster.onHost(name, "sh", "-c", `cat /dev/zero >${filler(cluster, name)} 2>/dev/null || true`);
      return async () => emptyDisk(cluster, name);
    case "demote":
      // It may have happened also when nobody could say so.
      await changeRole(cluster, name, "demote").catch(() => {});
      return () => changeRole(cluster, name, "promote");
  }
};

/** Starts the agent unless it runs. */
export const restart = async (cluster: TestCluster, name: string): Promise<void> => {
  if (cluster.agentPid(name) === 0 || !existsSync(cluster.node(name).socket)) await cluster.startAgent(name);
};

/** Undoes all that may have been done to a host, but for its role. */
export const heal = async (cluster: TestCluster, name: string): Promise<void> => {
  mend(cluster, name);
  emptyDisk(cluster, name);
  signal(cgroupProcesses(`${cluster.node(name).cgroup}/host`), "SIGCONT");
  await restart(cluster, name);
};
