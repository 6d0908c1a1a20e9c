// One member's disk, with the control plane's real state: a snapshot of 100 MB of tasks while writes go on, restoring it, and
// replaying a log.
//   node bench/raft-storage.ts [MB of state = 100] [entries to replay = 100000] [runs = 3]
import fs from "node:fs";
import path from "node:path";
import { type Logger, silentLogger } from "#base/log.ts";
import { realClock, systemRandom } from "#base/node/system.ts";
import { createReplicatedState, type ReplicatedState } from "#control-plane/manager/replicated-state.ts";
import { openRaftLog, type RaftLog } from "#control-plane/raft-host/raft-log.ts";
import { createState } from "#control-plane/state/state.ts";
import { Task } from "#proto/gen/types.ts";
import { sleep } from "#test-cluster/netns/system.ts";
import { tell } from "./measure/figures.ts";
import { benchKeys } from "./measure/keys.ts";
import { inSandbox } from "./measure/sandbox.ts";

const MEGABYTES = Number(process.argv[2] ?? 100);
const ENTRIES = Number(process.argv[3] ?? 100_000);
const RUNS = Number(process.argv[4] ?? 3);
/** Of one task in the fill, about. */
const TASK_BYTES = 1_000;
const TASKS_A_COMMAND = 100;
const NEVER = Number.MAX_SAFE_INTEGER;
/** Managers' heartbeat: nothing may hold up a turn for longer. */
const HEARTBEAT_MS = 100;

type Opened = { readonly log: RaftLog; readonly replicated: ReplicatedState };

const open = async (dir: string, snapshotEvery: number, logger: Logger = silentLogger): Promise<Opened> => {
  const replicated = createReplicatedState(createState(), realClock, systemRandom);
  const log = await openRaftLog({
    dir,
    raftId: 1,
    clusterId: "bench",
    beginning: { kind: "bootstrap", members: [{ raftId: 1, nodeId: "n1", addr: "127.0.0.1:1" }] },
    stateMachine: replicated.machine,
    transport: () => ({
      send: () => {},
      sendSnapshot: async () => {},
      setPeers: () => {},
      close: () => {},
      arrived: () => {},
    }),
    keys: benchKeys(),
    clock: realClock,
    random: systemRandom,
    logger,
    snapshotEvery,
    onFatal: (error) => {
      throw error;
    },
  });
  replicated.attach(log);
  while (!log.status().isLeader) await sleep(1);
  await log.readBarrier();
  return { log, replicated };
};

const task = (id: string): Task =>
  Task.fromPartial({
    id,
    serviceId: `service${Number(id) % 1000}`,
    spec: { container: { env: { FILL: "x".repeat(TASK_BYTES - 100) } } },
  });

const fill = async ({ replicated }: Opened, tasks: number): Promise<void> => {
  for (let i = 0; i < tasks; i += TASKS_A_COMMAND)
    await replicated.write((tx) => {
      for (let j = i; j < i + TASKS_A_COMMAND; j++) tx.put("task", task(String(j)));
    });
};

/** Longest time for which the event loop did nothing else, since the call before. */
const watchLoop = () => {
  let last = performance.now();
  let longest = 0;
  const timer = setInterval(() => {
    const now = performance.now();
    longest = Math.max(longest, now - last);
    last = now;
  }, 1);
  return {
    take: () => {
      const taken = longest;
      longest = 0;
      return taken;
    },
    stop: () => clearInterval(timer),
  };
};

/** A log of `commands` writes of one small task each, as a crash leaves it. */
const longLog = async (dir: string, commands: number): Promise<void> => {
  const { log, replicated } = await open(dir, NEVER);
  const AT_ONCE = 256;
  const writer = async (_: unknown, first: number) => {
    for (let i = first; i < commands; i += AT_ONCE)
      await replicated.write((tx) =>
        tx.put("task", Task.fromPartial({ id: String(i), serviceId: `service${i % 1000}` })),
      );
  };
  await Promise.all(Array.from({ length: AT_ONCE }, writer));
  log.abandon();
};

/** One snapshot after the other, each begins with the first write after the one before. */
const snapshots = async (dir: string): Promise<void> => {
  const ended: number[] = [];
  const info = (message: string): void => {
    if (message === "wrote a snapshot") ended.push(performance.now());
  };
  const { log, replicated } = await open(dir, 1, { ...silentLogger, info });
  const loop = watchLoop();
  const [took, held, slowest] = [[] as number[], [] as number[], [] as number[]];
  for (let seen = 0, slow = 0, i = 0; seen <= RUNS; i++) {
    const at = performance.now();
    await replicated.write((tx) => tx.put("task", { ...tx.get("task", "0")!, slot: i }));
    slow = Math.max(slow, performance.now() - at);
    if (ended.length === seen) continue;
    seen = ended.length;
    const longest = loop.take();
    if (seen > 1) {
      took.push(ended[seen - 1]! - ended[seen - 2]!);
      held.push(longest);
      slowest.push(slow);
    }
    slow = 0;
  }
  loop.stop();
  await log.stop();
  const name = fs.readdirSync(path.join(dir, "snap")).findLast((file) => file.endsWith(".snap"))!;
  const size = fs.statSync(path.join(dir, "snap", name)).size / 1e6;
  tell(`snapshot of ${size.toFixed(0)} MB`, took, "ms", 0);
  tell(`  longest turn meanwhile (a heartbeat: ${HEARTBEAT_MS})`, held, "ms", 0);
  tell("  slowest write meanwhile", slowest, "ms", 0);
};

const opening = async (dir: string): Promise<number> => {
  const at = performance.now();
  const { log } = await open(dir, NEVER);
  const took = performance.now() - at;
  log.abandon();
  return took;
};

await inSandbox(async ({ dir }) => {
  const [large, long] = [path.join(dir, "large"), path.join(dir, "long")];
  const filled = await open(large, NEVER);
  await fill(filled, Math.ceil((MEGABYTES * 1e6) / TASK_BYTES / TASKS_A_COMMAND) * TASKS_A_COMMAND);
  await filled.log.stop();
  await snapshots(large);
  const [restores, replays] = [[] as number[], [] as number[]];
  for (let i = 0; i < RUNS; i++) restores.push(await opening(large));
  tell("start with that snapshot", restores, "ms", 0);
  await longLog(long, ENTRIES);
  for (let i = 0; i < RUNS; i++) replays.push(ENTRIES / ((await opening(long)) / 1000));
  tell(`log replay, ${ENTRIES} entries`, replays, "entries/s", 0);
});
