// A cluster on one machine: each host is a network, mount and UTS namespace with its own folder and cgroup, joined to the
// others by a bridge in a namespace of its own. Each runs the real agent with the flags that it has on a real host.
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdirSync, openSync, readdirSync, readFileSync, rmdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { type ClusterLayout, layout, type NodeLayout } from "#test-cluster/netns/layout.ts";
import { isAlive, joinCgroup, killCgroup, removeCgroup, run, sleep } from "#test-cluster/netns/system.ts";

export const ROOT = resolve(import.meta.dirname, "../..");

/** What a later process must know to go on with the cluster. */
type Saved = {
  readonly name: string;
  readonly number: number;
  readonly count: number;
  readonly holders: readonly number[];
};

const statePath = (dir: string): string => join(dir, "cluster.json");

export type ClusterOptions = {
  readonly name: string;
  readonly number: number;
  readonly nodes: number;
  readonly logLevel?: string;
};

export type TestCluster = {
  readonly layout: ClusterLayout;
  readonly node: (name: string) => NodeLayout;
  /** Starts the agent of a node and waits until its socket answers. */
  startAgent(name: string, ...flags: string[]): Promise<void>;
  /** Process id of a node's agent; 0 when it does not run. */
  agentPid(name: string): number;
  managerPid(name: string): number;
  /** Runs a program in the namespaces of a node's host. */
  onHost(name: string, command: string, ...args: string[]): string;
  /** Takes a node's link to the others down or up. */
  setLink(name: string, up: boolean): void;
  down(): Promise<void>;
};

const inNode = (holder: number, command: readonly string[]): string[] => [
  "nsenter",
  `--mount=/proc/${holder}/ns/mnt`,
  `--uts=/proc/${holder}/ns/uts`,
  `--net=/proc/${holder}/ns/net`,
  ...command,
];

// A /sys of its own network namespace, with the cgroups of the machine but for the half-used v2 hierarchy of a mixed
// layout, which crun refuses. `ip netns exec` would leave /sys/fs/cgroup empty.
const HOLDER = `
hostname "$1"
mount --make-rprivate /
mkdir -p "$2/cgroup"
mount --rbind /sys/fs/cgroup "$2/cgroup"
if [ ! -e /sys/fs/cgroup/cgroup.procs ] && [ -e /sys/fs/cgroup/unified/cgroup.procs ]; then umount "$2/cgroup/unified"; fi
umount -l /sys
mount -t sysfs sysfs /sys
mount --rbind "$2/cgroup" /sys/fs/cgroup
ip link set lo up
exec sleep infinity`;

/** The process that stands for a host: its namespaces live as long as it does. */
const startHolder = async (node: NodeLayout): Promise<number> => {
  const child = spawn(
    "nsenter",
    [
      `--net=/run/netns/${node.netns}`,
      "unshare",
      "--mount",
      "--uts",
      "sh",
      "-ec",
      HOLDER,
      "holder",
      node.name,
      node.dir,
    ],
    {
      detached: true,
      stdio: "ignore",
    },
  );
  child.unref();
  const pid = child.pid!;
  joinCgroup(`${node.cgroup}/host`, pid);
  // Each program execs the next: the process id stays, and the last one is `sleep`.
  for (let tries = 0; readFileSync(`/proc/${pid}/comm`, "utf8").trim() !== "sleep"; tries++) {
    if (tries > 500) throw new Error(`the namespaces of ${node.name} were not made within 5 s`);
    await sleep(10);
  }
  return pid;
};

const makeSwitch = (cluster: ClusterLayout): void => {
  const { switchNetns: ns } = cluster;
  run("ip", ["netns", "add", ns]);
  run("ip", ["-n", ns, "link", "add", "br0", "type", "bridge", "forward_delay", "0", "mcast_snooping", "0"]);
  run("ip", ["-n", ns, "link", "set", "br0", "up"]);
  for (const [i, node] of cluster.nodes.entries()) {
    const port = `port${i + 1}`;
    run("ip", ["netns", "add", node.netns]);
    run("ip", ["-n", ns, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", node.netns]);
    run("ip", ["-n", ns, "link", "set", port, "master", "br0", "up"]);
    run("ip", ["-n", node.netns, "link", "set", "eth0", "up"]);
    run("ip", ["-n", node.netns, "addr", "add", `${node.ipv4}/24`, "dev", "eth0"]);
    run("ip", ["-n", node.netns, "addr", "add", `${node.ipv6}/64`, "dev", "eth0", "nodad"]);
  }
};

const attach = (saved: Saved, logLevel: string): TestCluster => {
  const cluster = layout(saved.name, saved.number, saved.count);
  const index = (name: string): number => {
    const at = cluster.nodes.findIndex((n) => n.name === name);
    if (at < 0) throw new Error(`cluster ${saved.name} has no ${name}`);
    return at;
  };
  const pidFile = (name: string): string => join(cluster.nodes[index(name)]!.dir, "agent.pid");
  const agentPid = (name: string): number => {
    if (!existsSync(pidFile(name))) return 0;
    const pid = Number(readFileSync(pidFile(name), "utf8"));
    return isAlive(pid) ? pid : 0;
  };

  return {
    layout: cluster,
    node: (name) => cluster.nodes[index(name)]!,
    agentPid,
    managerPid(name) {
      const agent = agentPid(name);
      if (agent === 0) return 0;
      const children = readFileSync(`/proc/${agent}/task/${agent}/children`, "utf8").trim().split(" ");
      return Number(
        children.find(
          (pid) => pid !== "" && /manager(\.mjs|\/main\.ts)/.test(readFileSync(`/proc/${pid}/cmdline`, "utf8")),
        ) ?? 0,
      );
    },
    async startAgent(name, ...flags) {
      const node = cluster.nodes[index(name)]!;
      const log = openSync(join(node.dir, "agent.log"), "a");
      const command = inNode(saved.holders[index(name)]!, [
        join(ROOT, "bin/tswarm-agent"),
        `--data-dir=${join(node.dir, "data")}`,
        `--run-dir=${join(node.dir, "run")}`,
        `--cgroup-parent=${node.cgroup}/containers`,
        `--hostname=${node.name}`,
        `--log-level=${logLevel}`,
        ...flags,
      ]);
      // The shell joins the cgroup before anything else, so that all that comes of it is in there.
      const child: ChildProcess = spawn("sh", ["-c", 'read go; exec "$@"', "agent", ...command], {
        detached: true,
        stdio: ["pipe", log, log],
        cwd: "/",
      });
      const pid = child.pid!;
      writeFileSync(pidFile(name), String(pid));
      joinCgroup(`${node.cgroup}/host`, pid);
      rmSync(node.socket, { force: true });
      child.stdin!.end("go\n");
      child.unref();
      for (const deadline = Date.now() + 60_000; !existsSync(node.socket); await sleep(10)) {
        if (!isAlive(pid))
          throw new Error(
            `the agent of ${name} ended: ${readFileSync(join(node.dir, "agent.log"), "utf8").slice(-2000)}`,
          );
        if (Date.now() > deadline) throw new Error(`the agent of ${name} does not answer: see ${node.dir}/agent.log`);
      }
    },
    onHost: (name, command, ...args) => {
      const [program, ...rest] = inNode(saved.holders[index(name)]!, [command, ...args]);
      return run(program!, rest);
    },
    setLink(name, up) {
      run("ip", ["-n", cluster.switchNetns, "link", "set", `port${index(name) + 1}`, up ? "up" : "down"]);
    },
    async down() {
      await killCgroup(cluster.cgroup);
      removeCgroup(cluster.cgroup);
      const existing = new Set(
        run("ip", ["netns", "list"])
          .split("\n")
          .map((line) => line.split(" ", 1)[0]),
      );
      for (const ns of [...cluster.nodes.map((n) => n.netns), cluster.switchNetns])
        if (existing.has(ns)) run("ip", ["netns", "del", ns]);
      rmSync(cluster.dir, { recursive: true, force: true });
      const folder = dirname(cluster.dir);
      if (existsSync(folder) && readdirSync(folder).length === 0) rmdirSync(folder);
    },
  };
};

/** Makes the hosts; no agent runs yet. */
export const createCluster = async ({
  name,
  number,
  nodes,
  logLevel = "info",
}: ClusterOptions): Promise<TestCluster> => {
  if (process.getuid?.() !== 0) throw new Error("a cluster of namespaces needs root: run it with sudo");
  const cluster = layout(name, number, nodes);
  if (existsSync(statePath(cluster.dir))) throw new Error(`cluster ${name} exists already: run \`make down\` first`);
  mkdirSync(cluster.dir, { recursive: true });
  // Written first: what is made from here on is found by `down`, whatever happens.
  const saved = { name, number, count: nodes, holders: [] as number[] };
  const save = () => writeFileSync(statePath(cluster.dir), JSON.stringify(saved));
  save();
  makeSwitch(cluster);
  for (const node of cluster.nodes) {
    mkdirSync(join(node.dir, "run"), { recursive: true });
    mkdirSync(join(node.dir, "data"), { recursive: true });
    saved.holders.push(await startHolder(node));
  }
  save();
  return attach(saved, logLevel);
};

/** `undefined` when there is none of that name. */
export const findCluster = (name: string, logLevel = "info"): TestCluster | undefined => {
  const path = statePath(layout(name, 1, 0).dir);
  return existsSync(path) ? attach(JSON.parse(readFileSync(path, "utf8")), logLevel) : undefined;
};

/** The command line against one node, as a user types it. */
export const tsctl = (node: NodeLayout, ...args: string[]): string =>
  run(join(ROOT, "bin/tsctl"), ["--host", `unix:${node.socket}`, ...args], { timeout: 180_000 });
