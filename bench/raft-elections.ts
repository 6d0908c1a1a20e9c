// Elections that nobody needed: three members at the settings that managers have, under all the load that so many clients
// make, for a long time. Each change of the term is one.
//   node bench/raft-elections.ts [minutes = 1] [clients = 256]
// Prints a line a minute.
import { openPutClient } from "./measure/put-client.ts";
import { http2Port, leaderOf, MEMBERS, startMember } from "./measure/put-cluster.ts";
import { enterOwnNamespace, inSandbox } from "./measure/sandbox.ts";

const BASE = 2100;
const SLICE_SECONDS = 60;

enterOwnNamespace();
await inSandbox(async ({ dir, children }) => {
  const minutes = Number(process.argv[2] ?? 1);
  const clients = Number(process.argv[3] ?? 256);
  const members = await Promise.all(
    MEMBERS.map(async (raftId) => {
      const member = await startMember(raftId, dir, BASE);
      children.push(member.child);
      return member;
    }),
  );
  const leader = await leaderOf(members);
  const client = await openPutClient(http2Port(BASE, leader.raftId));
  const { term } = await leader.status();
  let puts = 0;
  for (let minute = 1; minute <= minutes; minute++) {
    const { count, p50, p99 } = await client.load(clients, SLICE_SECONDS);
    puts += count;
    const terms = await Promise.all(members.map(async (m) => (await m.status()).term));
    const figures = `${Math.round(count / SLICE_SECONDS)} puts/s, p50 ${p50.toFixed(1)} ms, p99 ${p99.toFixed(0)} ms`;
    console.log(`minute ${minute}: ${figures}, ${Math.max(...terms) - term} elections so far (${puts} puts)`);
  }
  client.close();
});
