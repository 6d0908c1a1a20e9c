// Which programs have which ports of a host, and keeping a port from them. A port that is published is bound, not listened
// on: nobody else can take it then, and a conflict is found before anything is translated.
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { basename } from "node:path";
import { TswarmError } from "#base/errors.ts";
import { formatIpv4, formatIpv6 } from "#net/model/cidr.ts";
import { errnoOf } from "./errno.ts";
import { closeFd } from "./libc.ts";
import { withNetns } from "./netns.ts";
import { boundSocketIn } from "./sockets.ts";

export type PortProtocol = "tcp" | "udp" | "sctp";
export type HostPort = { readonly protocol: PortProtocol; readonly port: number; readonly hostIp: string };
export type Listener = HostPort & {
  /** "nginx (pid 812)", or "" when its process can't be found. */ readonly owner: string;
};

const TABLES = [
  { file: "tcp", protocol: "tcp", state: "0A" },
  { file: "tcp6", protocol: "tcp", state: "0A" },
  { file: "udp", protocol: "udp", state: "07" },
  { file: "udp6", protocol: "udp", state: "07" },
] as const;

/** proc(5), /proc/net/tcp: addresses are words in the machine's order; TCP_LISTEN is 0A, an unconnected UDP socket 07. */
export const parseSocketTable = (
  text: string,
  state: string,
): readonly { readonly hostIp: string; readonly port: number; readonly inode: string }[] =>
  text.split("\n").flatMap((line) => {
    const [, local, , is, , , , , , inode] = line.trim().split(/\s+/);
    if (is !== state || local === undefined || inode === undefined) return [];
    const [address, port] = local.split(":") as [string, string];
    const words = address.match(/.{8}/g)!.map((word) => BigInt(`0x${word.match(/../g)!.toReversed().join("")}`));
    const value = words.reduce((sum, word) => (sum << 32n) | word, 0n);
    const hostIp = value === 0n ? "" : words.length === 1 ? formatIpv4(value) : formatIpv6(value);
    return [{ hostIp, port: Number.parseInt(port, 16), inode }];
  });

/** Whose listeners are left out: those of these processes, and those of whole trees by their first process. */
export type Except = { readonly pids?: ReadonlySet<number>; readonly trees?: ReadonlySet<number> };

/** Everything that listens in the namespace, with the names of the processes that this one may see. */
export const listListeners = (netnsPath: string | null, { pids, trees }: Except = {}): Listener[] =>
  withNetns(netnsPath, () => {
    const found = TABLES.flatMap(({ file, protocol, state }) => {
      const path = `/proc/thread-self/net/${file}`;
      return parseSocketTable(readIfThere(path), state).map((socket) => ({ ...socket, protocol }));
    });
    const owners = socketOwners(new Set(found.map(({ inode }) => inode)));
    const listeners = new Map<string, Listener>();
    for (const { protocol, port, hostIp, inode } of found) {
      const owner = owners.get(inode);
      if (owner !== undefined && (pids?.has(owner.pid) || (trees && descends(owner.pid, trees)))) continue;
      const name = owner === undefined ? "" : `${owner.name} (pid ${owner.pid})`;
      listeners.set(`${protocol} ${hostIp} ${port}`, { protocol, port, hostIp, owner: name });
    }
    return [...listeners.values()];
  });

const readIfThere = (path: string): string => {
  try {
    return readFileSync(path, "utf8");
  } catch {
    // A kernel without IPv6 has no tcp6; a process may end while it is looked at.
    return "";
  }
};

type Owner = { readonly pid: number; readonly name: string };

const socketOwners = (inodes: ReadonlySet<string>): ReadonlyMap<string, Owner> => {
  const owners = new Map<string, Owner>();
  if (inodes.size === 0) return owners;
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name)))
    for (const inode of socketsOf(pid))
      if (inodes.has(inode) && !owners.has(inode)) owners.set(inode, { pid: Number(pid), name: programOf(pid) });
  return owners;
};

/** Node.js calls the first thread of every program so; what it runs is the next word of its command line. */
const NODE_THREAD = "MainThread";

const programOf = (pid: string): string => {
  const comm = readIfThere(`/proc/${pid}/comm`).trim();
  if (comm !== NODE_THREAD) return comm;
  const [program = "", ...words] = readIfThere(`/proc/${pid}/cmdline`).split("\0");
  const script = words.find((word) => word !== "" && !word.startsWith("-"));
  return [program, script ?? ""]
    .filter((word) => word !== "")
    .map((word) => basename(word))
    .join(" ");
};

/** Is it one of these processes, or was it started by one of them? Orphans belong to the first process of their container. */
const descends = (pid: number, ancestors: ReadonlySet<number>): boolean => {
  for (let at = pid; at > 1 && ancestors.size > 0; at = parentOf(at)) if (ancestors.has(at)) return true;
  return false;
};

/** proc(5), /proc/PID/stat: the name may have blanks and parentheses; state and parent follow the last one. */
const parentOf = (pid: number): number => {
  const stat = readIfThere(`/proc/${pid}/stat`);
  return Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1] ?? 0);
};

const socketsOf = (pid: string): string[] => {
  try {
    return readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
      const [, inode] = /^socket:\[(\d+)\]$/.exec(linkOf(`/proc/${pid}/fd/${fd}`)) ?? [];
      return inode === undefined ? [] : [inode];
    });
  } catch {
    return [];
  }
};

const linkOf = (path: string): string => {
  try {
    return readlinkSync(path);
  } catch {
    return "";
  }
};

/**
 * Takes the port; returns the descriptor that keeps it. Throws `conflict` naming who has it. The protocol's absence in this
 * kernel is no conflict: undefined.
 */
export const takePort = (netnsPath: string | null, { protocol, port, hostIp }: HostPort): number | undefined => {
  const take = (address: string): number | undefined => {
    try {
      return boundSocketIn(netnsPath, protocol, address, port);
    } catch (error) {
      const errno = errnoOf(error);
      if (errno === "EPROTONOSUPPORT" || errno === "ESOCKTNOSUPPORT" || errno === "EAFNOSUPPORT") return undefined;
      if (errno === "EADDRNOTAVAIL")
        throw new TswarmError("conflict", `port ${port}/${protocol}: this host has no address ${address}`);
      if (errno !== "EADDRINUSE") throw error;
      const holder = listListeners(netnsPath).find((l) => l.protocol === protocol && l.port === port);
      const who = holder?.owner ? `by ${holder.owner}` : "by another program";
      throw new TswarmError("conflict", `port ${port}/${protocol} of this host is in use ${who}`);
    }
  };
  if (hostIp !== "") return take(hostIp);
  const both = take("::");
  return both ?? take("0.0.0.0");
};

export const releasePort = (fd: number): void => closeFd(fd);
