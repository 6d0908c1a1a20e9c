// What a container's TCP sockets say about it: whether it serves yet, and whether anybody still uses it.
import { readFile } from "node:fs/promises";
import { inboundConnections, listeningPorts, socketsInUse } from "#node-agent/task/connections.ts";

/** Missing files: the process has ended, or the kernel has no IPv6. */
const tables = (pid: number, names: readonly string[]): Promise<string[]> =>
  Promise.all(names.map((name) => readFile(`/proc/${pid}/net/${name}`, "utf8").catch(() => "")));

export type ContainerSockets = {
  /** Connections from elsewhere that the container of this process serves; none when the process has ended. */
  connections(pid: number): Promise<number>;
  /** Whether it listens on one of these ports. */
  listens(pid: number, ports: ReadonlySet<number>): Promise<boolean>;
};

/** A listening socket and one connection, or nothing to look at. The container's own DNS server is one socket. */
const FEWEST = 2;
const mayServe = async (pid: number): Promise<boolean> =>
  socketsInUse(await tables(pid, ["sockstat", "sockstat6"])) >= FEWEST;

export const containerSockets: ContainerSockets = {
  connections: async (pid) => ((await mayServe(pid)) ? inboundConnections(await tables(pid, ["tcp", "tcp6"])) : 0),
  async listens(pid, ports) {
    if (!(await mayServe(pid))) return false;
    const open = listeningPorts(await tables(pid, ["tcp", "tcp6"]));
    return [...ports].some((port) => open.has(port));
  },
};
