// Three members in three processes on loopback, each with a put service; and the same of etcd.
import { type ChildProcess, fork, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Peer } from "#control-plane/raft-host/peers.ts";
import { sleep } from "#test-cluster/netns/system.ts";

export const MEMBERS = [1, 2, 3] as const;
export const grpcPort = (base: number, raftId: number): number => base + raftId;
export const http2Port = (base: number, raftId: number): number => base + 10 + raftId;
export const benchPeers = (base: number): Peer[] =>
  MEMBERS.map((raftId) => ({ raftId, nodeId: `n${raftId}`, addr: `127.0.0.1:${grpcPort(base, raftId)}` }));

export type MemberStatus = {
  readonly isLeader: boolean;
  readonly term: number;
  readonly leaderId: number;
  readonly applied: number;
};

/** CPU time of a process with all its threads, in microseconds (proc(5), stat: utime, stime in 1/100 s). */
export const cpuMicros = (pid: number): number => {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) * 10_000;
};

export type PutMember = {
  readonly raftId: number;
  readonly child: ChildProcess;
  status(): Promise<MemberStatus>;
};

/** Resolves when it serves. A folder that exists is gone on with. */
export const startMember = async (raftId: number, root: string, base: number): Promise<PutMember> => {
  const child = fork(join(import.meta.dirname, "put-member.ts"), [String(raftId), root, String(base)]);
  await Promise.race([
    once(child, "message"),
    once(child, "exit").then(([code]) => Promise.reject(new Error(`member ${raftId} ended (${code})`))),
  ]);
  return {
    raftId,
    child,
    status: async () => {
      child.send("status");
      return (await once(child, "message"))[0];
    },
  };
};

/** Asks until one of them leads. */
export const leaderOf = async (members: readonly PutMember[]): Promise<PutMember> => {
  for (;;) {
    for (const member of members) if ((await member.status()).isLeader) return member;
    await sleep(20);
  }
};

export type EtcdMember = { readonly child: ChildProcess; readonly clientPort: number };

/** Three members of the installed etcd with its defaults; undefined where there is none. The first of the list leads. */
export const startEtcd = async (root: string, base: number): Promise<EtcdMember[] | undefined> => {
  if (!existsSync("/usr/bin/etcd")) return undefined;
  const peer = (id: number) => `http://127.0.0.1:${base + id}`;
  const client = (id: number) => base + 10 + id;
  const members = MEMBERS.map((id): EtcdMember => {
    const flags = {
      name: `e${id}`,
      "data-dir": join(root, `e${id}`),
      "listen-peer-urls": peer(id),
      "initial-advertise-peer-urls": peer(id),
      "listen-client-urls": `http://127.0.0.1:${client(id)}`,
      "advertise-client-urls": `http://127.0.0.1:${client(id)}`,
      "initial-cluster": MEMBERS.map((m) => `e${m}=${peer(m)}`).join(),
      "log-level": "error",
    };
    const args = Object.entries(flags).map(([name, value]) => `--${name}=${value}`);
    const child = spawn("/usr/bin/etcd", args, { stdio: ["ignore", "ignore", "ignore"], env: {} });
    return { child, clientPort: client(id) };
  });
  for (const deadline = Date.now() + 20_000; ; await sleep(100)) {
    for (const member of members)
      if (await leads(member.clientPort)) return [member, ...members.filter((m) => m !== member)];
    if (Date.now() > deadline) throw new Error("etcd does not elect a leader");
  }
};

const leads = async (port: number): Promise<boolean> => {
  try {
    const metrics = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
    return /^etcd_server_is_leader 1$/m.test(metrics);
  } catch {
    return false;
  }
};
