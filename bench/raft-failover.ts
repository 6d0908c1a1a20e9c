// Milliseconds from the end of a leader until another member accepts a write, at the settings that managers have: the leader
// is killed, stopped as by a debugger, or asked to end (it hands over first). Nobody else is under load.
//   node bench/raft-failover.ts [times each = 10]

import { isAlive, sleep } from "#test-cluster/netns/system.ts";
import { tell } from "./measure/figures.ts";
import { openPutClient, type PutClient } from "./measure/put-client.ts";
import { http2Port, leaderOf, MEMBERS, type PutMember, startMember } from "./measure/put-cluster.ts";
import { enterOwnNamespace, inSandbox } from "./measure/sandbox.ts";

const BASE = 2100;
const ASK_AGAIN_MS = 5;

/** What etcd 3.4 needed on such a machine, median until the first write: kill -9, SIGSTOP, SIGTERM. */
const ETCD = { SIGKILL: 1575, SIGSTOP: 1065, SIGTERM: 16 } as const;

/** All follow one leader, and have applied what it has. */
const settled = async (members: readonly PutMember[]): Promise<PutMember> => {
  for (;;) {
    const leader = await leaderOf(members);
    const all = await Promise.all(members.map((m) => m.status()));
    const { applied } = await leader.status();
    if (all.every((s) => s.leaderId === leader.raftId && s.applied >= applied)) return leader;
    await sleep(50);
  }
};

/** Asks the clients in turns until one of them could write. */
const firstWrite = async (clients: readonly PutClient[]): Promise<void> => {
  for (let i = 0; ; i++) {
    const accepted = await clients[i % clients.length]!.put(i).then(
      () => true,
      () => false,
    );
    if (accepted) return;
    await sleep(ASK_AGAIN_MS / clients.length);
  }
};

enterOwnNamespace();
await inSandbox(async ({ dir, children }) => {
  const times = Number(process.argv[2] ?? 10);
  const start = async (raftId: number): Promise<PutMember> => {
    const member = await startMember(raftId, dir, BASE);
    children.push(member.child);
    return member;
  };
  let members = await Promise.all(MEMBERS.map(start));
  for (const signal of ["SIGKILL", "SIGSTOP", "SIGTERM"] as const) {
    const took: number[] = [];
    for (let i = 0; i < times; i++) {
      const leader = await settled(members);
      // Not always at the same moment between two heartbeats.
      await sleep(500 + Math.random() * 200);
      const others = members.filter((m) => m !== leader);
      const clients = await Promise.all(others.map((m) => openPutClient(http2Port(BASE, m.raftId))));
      const at = performance.now();
      leader.child.kill(signal);
      await firstWrite(clients);
      took.push(performance.now() - at);
      for (const client of clients) client.close();
      if (signal === "SIGSTOP") leader.child.kill("SIGCONT");
      else {
        while (isAlive(leader.child.pid!)) await sleep(10);
        members = [...others, await start(leader.raftId)];
      }
    }
    tell(`${signal} of the leader until a write`, took, `ms (etcd ${ETCD[signal]})`, 0);
  }
});
