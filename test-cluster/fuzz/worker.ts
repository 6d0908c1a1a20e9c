// Runs one target in a thread of its own, which can be watched, and ended when it hangs or takes all memory.
import { parentPort, workerData } from "node:worker_threads";
import { seededRandom } from "#base/random.ts";
import { mutate } from "#test-cluster/fuzz/mutate.ts";
import { isClear } from "#test-cluster/fuzz/target.ts";
import { targets } from "#test-cluster/fuzz/targets.ts";

export type Job = {
  readonly target: string;
  readonly seed: number;
  readonly cpuMs: number;
  /** The input under way: its length, then its bytes. */
  readonly current: SharedArrayBuffer;
};
export type Report = {
  readonly inputs: number;
  readonly refused: number;
  readonly finding: { readonly input: string; readonly what: string } | null;
};

/** One input may take this long, of this thread's own time. */
const SLOW_MS = 1_000;

const cpuMs = (): number => {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
};

const job = workerData as Job;
const target = targets.find(({ name }) => name === job.target)!;
const { samples, run, close } = await target.open();
const random = seededRandom(job.seed);
const length = new Int32Array(job.current, 0, 1);
const bytes = new Uint8Array(job.current, 4);
let inputs = 0;
let refused = 0;
let finding: Report["finding"] = null;

const began = cpuMs();
const beganWall = performance.now();
const isOver = (now: number): boolean => now - began >= job.cpuMs || performance.now() - beganWall >= 3 * job.cpuMs;
for (let now = began; finding === null && !isOver(now); ) {
  // The samples first, as they are: a target that refuses those tests nothing.
  const whole = inputs < samples.length;
  const input = whole ? Buffer.from(samples[inputs]!) : mutate(random, samples, target.words).subarray(0, bytes.length);
  length[0] = input.length;
  bytes.set(input);
  inputs++;
  const found = (what: string) => {
    finding = { input: input.toString("hex"), what };
  };
  try {
    await run(input);
  } catch (error) {
    refused++;
    if (!isClear(error)) found(`no clear error: ${(error as Error).stack}`);
    else if (whole && target.strict !== false) found(`a valid input is refused: ${(error as Error).message}`);
  }
  const after = cpuMs();
  if (after - now > SLOW_MS) found(`${Math.round(after - now)} ms`);
  now = after;
}
close?.();
// Connections end first: node aborts when data arrives for a thread that is being ended.
await new Promise((resolve) => setTimeout(resolve, 300));
parentPort!.postMessage({ inputs, refused, finding } satisfies Report);
process.exit(0);
