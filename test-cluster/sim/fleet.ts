// Seeds on several processes.
import { type ChildProcess, fork } from "node:child_process";
import path from "node:path";
import { type Failure, noTotals, type Order, type Outcome, sum, type Totals } from "#test-cluster/sim/run-seeds.ts";

const WORKER = path.join(import.meta.dirname, "worker.ts");
const CHUNK = 20;
/** Most of what a run makes lives for a short time: with more room for it, less of the time goes into collections. */
const YOUNG = ["--max-semi-space-size=64"];

const ask = (worker: ChildProcess, order: Order): Promise<Outcome> =>
  new Promise((resolve, reject) => {
    const ended = (code: number | null) => reject(new Error(`a simulator process ended with ${code}`));
    worker.once("exit", ended);
    worker.once("message", (outcome: Outcome) => {
      worker.off("exit", ended);
      resolve(outcome);
    });
    worker.send(order);
  });

export type FleetOptions = Order & {
  readonly jobs: number;
  /** Ends after this many ms of real time, if that is earlier. */
  readonly forMs?: number;
};

/** Runs seeds until one fails. Of several that fail at once, the first is told. */
export const runFleet = async ({ jobs, forMs, ...order }: FleetOptions): Promise<Outcome> => {
  const end = Date.now() + (forMs ?? Number.POSITIVE_INFINITY);
  const last = order.first + order.count;
  let next = order.first;
  let totals: Totals = noTotals;
  const failures: Failure[] = [];
  const serve = async () => {
    const worker = fork(WORKER, { execArgv: YOUNG, stdio: ["ignore", "inherit", "inherit", "ipc"] });
    try {
      while (next < last && failures.length === 0 && Date.now() < end) {
        const first = next;
        const count = Math.min(CHUNK, last - first);
        next += count;
        const outcome = await ask(worker, { ...order, first, count });
        totals = sum(totals, outcome.totals);
        if (outcome.failure !== null) failures.push(outcome.failure);
      }
    } finally {
      worker.disconnect();
    }
  };
  await Promise.all(Array.from({ length: jobs }, serve));
  failures.sort((a, b) => a.seed - b.seed);
  return { totals, failure: failures[0] ?? null };
};

/** The first seed that finds the mutant, with the totals until then. A broken code may also hang: then it is killed. */
export const runMutant = async (name: string, order: Order, killAfterMs: number): Promise<Outcome> => {
  const worker = fork(WORKER, [name], { stdio: ["ignore", "inherit", "inherit", "ipc"] });
  const kill = setTimeout(() => worker.kill("SIGKILL"), killAfterMs);
  try {
    return await ask(worker, order);
  } catch (error) {
    if (!worker.killed) throw error;
    return { totals: noTotals, failure: { seed: order.first, property: "it comes to an end", text: "" } };
  } finally {
    clearTimeout(kill);
    if (worker.connected) worker.disconnect();
  }
};
