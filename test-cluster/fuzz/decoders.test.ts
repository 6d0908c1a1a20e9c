// Every decoder of bytes that this process did not just make: broken inputs must end in a clear error or a result, quickly.
// FUZZ_SECONDS (60) of processor time are split over all of them; FUZZ_SEED repeats a run, FUZZ_TARGET names one decoder.
import { Worker } from "node:worker_threads";
import { expect } from "chai";
import { targets } from "#test-cluster/fuzz/targets.ts";
import type { Job, Report } from "#test-cluster/fuzz/worker.ts";

const seconds = Number(process.env.FUZZ_SECONDS ?? 60);
const seed = Number(process.env.FUZZ_SEED ?? Date.now() % 2 ** 31);
const only = process.env.FUZZ_TARGET;

const MAX_INPUT = 1 << 16;
/** Nothing takes this long on the slowest machine. */
const HANG_MS = 30_000;
const MEMORY_MIB = 512;

const fuzz = (target: string, cpuMs: number): Promise<Report> =>
  new Promise((resolve) => {
    const current = new SharedArrayBuffer(4 + MAX_INPUT);
    const input = () => Buffer.from(new Uint8Array(current, 4, new Int32Array(current, 0, 1)[0])).toString("hex");
    const worker = new Worker(new URL("worker.ts", import.meta.url), {
      workerData: { target, seed, cpuMs, current } satisfies Job,
      resourceLimits: { maxOldGenerationSizeMb: MEMORY_MIB },
    });
    let last = "";
    const watch = setInterval(() => {
      const now = input();
      if (now === last) end("it hangs");
      last = now;
    }, HANG_MS);
    const end = (what: string) => {
      clearInterval(watch);
      void worker.terminate();
      resolve({ inputs: 0, refused: 0, finding: { input: input(), what } });
    };
    worker.once("message", (report: Report) => {
      clearInterval(watch);
      resolve(report);
    });
    worker.once("error", (error) => end(`it ends the process: ${(error as Error).stack}`));
    worker.once("exit", () => end("it ends the process"));
  });

describe("decoders, fuzzed", function () {
  this.timeout(0);
  const chosen = targets.filter(({ name }) => only === undefined || name === only);
  const share = (seconds * 1000) / chosen.reduce((sum, { weight = 1 }) => sum + weight, 0);
  for (const { name, weight = 1 } of chosen)
    it(name, async () => {
      const { inputs, refused, finding } = await fuzz(name, share * weight);
      const again = `FUZZ_SEED=${seed} FUZZ_SECONDS=${seconds} FUZZ_TARGET='${name}' npx mocha test-cluster/fuzz/decoders.test.ts`;
      if (finding) throw new Error(`${finding.what}\nafter ${inputs} inputs, with ${finding.input}\nagain: ${again}`);
      expect(inputs, "inputs").to.be.greaterThan(10);
      if (process.env.FUZZ_VERBOSE) console.log(`      ${inputs} inputs, ${refused} refused`);
    });
});
