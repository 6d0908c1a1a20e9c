// Proposals per second of three members in three processes, real disks and gRPC on loopback.
//   node bench/raft.ts [seconds a run = 2] [runs = 5]
// Prints min/median/max of the runs for 1, 16, 64 and 256 proposers on the leader (256-byte entries), and CPU per proposal.
import { fork } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import * as grpc from "@grpc/grpc-js";
import { silentLogger } from "#base/log.ts";
import { realClock, systemRandom } from "#base/node/system.ts";
import { grpcTransport } from "#control-plane/raft-host/grpc-transport.ts";
import { openRaftLog } from "#control-plane/raft-host/raft-log.ts";
import { raftServiceDefinition, raftServiceHandlers } from "#control-plane/raft-host/raft-service.ts";
import { testKeys } from "#control-plane/raft-host/test-keys.ts";

const PROPOSERS = [1, 16, 64, 256];
const BASE_PORT = 21_000 + (process.pid % 10_000);
const peers = (port: number) =>
  [1, 2, 3].map((raftId) => ({ raftId, nodeId: `n${raftId}`, addr: `127.0.0.1:${port + raftId}` }));

type Ask = { kind: "leader" } | { kind: "run"; proposers: number; seconds: number } | { kind: "cpu" };

const member = async (raftId: number, root: string, port: number): Promise<void> => {
  let applied = 0;
  const log = await openRaftLog({
    dir: path.join(root, `m${raftId}`),
    raftId,
    clusterId: "bench",
    keys: testKeys(raftId),
    beginning: { kind: "bootstrap", members: peers(port) },
    stateMachine: {
      apply: (entries) => {
        applied += entries.length;
      },
      restore: async () => {},
      snapshot: () => [Buffer.from(String(applied))],
    },
    transport: grpcTransport({
      credentials: grpc.credentials.createInsecure(),
      clock: realClock,
      random: systemRandom,
      logger: silentLogger,
    }),
    clock: realClock,
    random: systemRandom,
    logger: silentLogger,
    onFatal: (error) => {
      console.error(error);
      process.exit(1);
    },
  });
  const server = new grpc.Server();
  server.addService(
    raftServiceDefinition,
    raftServiceHandlers(log.host, () => {}),
  );
  server.bindAsync(`127.0.0.1:${port + raftId}`, grpc.ServerCredentials.createInsecure(), () => {});

  const run = async (proposers: number, seconds: number) => {
    const data = Buffer.alloc(256, 1);
    const latencies: number[] = [];
    const begin = performance.now();
    const end = begin + seconds * 1000;
    const one = async () => {
      while (performance.now() < end) {
        const at = performance.now();
        await log.propose(data);
        latencies.push(performance.now() - at);
      }
    };
    await Promise.all(Array.from({ length: proposers }, one));
    latencies.sort((a, b) => a - b);
    const at = (q: number) => latencies[Math.floor(latencies.length * q)] ?? 0;
    const count = latencies.length;
    return { count, perSecond: count / ((performance.now() - begin) / 1000), p50: at(0.5), p99: at(0.99) };
  };
  process.on("message", async (ask: Ask) => {
    if (ask.kind === "leader") process.send!(log.status().isLeader);
    if (ask.kind === "cpu") process.send!(process.cpuUsage());
    if (ask.kind === "run") process.send!(await run(ask.proposers, ask.seconds));
  });
  process.send!("up");
};

const main = async (): Promise<void> => {
  const seconds = Number(process.argv[2] ?? 2);
  const runs = Number(process.argv[3] ?? 5);
  const root = fs.mkdtempSync(path.join(os.tmpdir(), "tswarm-bench-"));
  const children = [1, 2, 3].map((id) => fork(import.meta.filename, ["member", String(id), root, String(BASE_PORT)]));
  const answer = (child: (typeof children)[number]) =>
    new Promise<never>((resolve) => child.once("message", (m) => resolve(m as never)));
  const ask = (child: (typeof children)[number], question: Ask) => {
    const reply = answer(child);
    child.send(question);
    return reply;
  };
  const cpuMicros = async () => {
    const usages: NodeJS.CpuUsage[] = await Promise.all(children.map((c) => ask(c, { kind: "cpu" })));
    return usages.reduce((sum, u) => sum + u.user + u.system, 0);
  };
  try {
    await Promise.all(children.map(answer));
    let leader: (typeof children)[number] | undefined;
    while (leader === undefined) {
      await new Promise((resolve) => setTimeout(resolve, 200));
      for (const child of children) if (await ask(child, { kind: "leader" })) leader = child;
    }
    await ask(leader, { kind: "run", proposers: 64, seconds: 1 });
    console.log("proposers  proposals/s min / median / max   p50 ms  p99 ms  CPU µs a proposal (all members)");
    for (const proposers of PROPOSERS) {
      const results: { count: number; perSecond: number; p50: number; p99: number; cpu: number }[] = [];
      for (let i = 0; i < runs; i++) {
        const before = await cpuMicros();
        const result: Omit<(typeof results)[number], "cpu"> = await ask(leader, { kind: "run", proposers, seconds });
        results.push({ ...result, cpu: ((await cpuMicros()) - before) / result.count });
      }
      results.sort((a, b) => a.perSecond - b.perSecond);
      const middle = results[Math.floor(results.length / 2)]!;
      const rates = [results[0]!, middle, results.at(-1)!].map((r) => r.perSecond.toFixed(0)).join(" / ");
      console.log(
        `${String(proposers).padStart(9)}  ${rates.padEnd(33)}  ${middle.p50.toFixed(2).padStart(6)}  ${middle.p99.toFixed(1).padStart(6)}  ${middle.cpu.toFixed(0)}`,
      );
    }
  } finally {
    for (const child of children) child.kill("SIGKILL");
    fs.rmSync(root, { recursive: true, force: true });
  }
};

if (process.argv[2] === "member") await member(Number(process.argv[3]), process.argv[4]!, Number(process.argv[5]));
else await main();
