// node test-cluster/sim/main.ts [--seeds 1000] [--first N] [--seconds 60] [--minutes M] [--jobs 2]   until one fails; without
//   --first, the first seed is drawn from the time
// node test-cluster/sim/main.ts --seed N [--seconds 60] [--trace] [--mutant NAME]                     one run again
// node test-cluster/sim/main.ts --mutants [--seeds 2000] [--seconds 20] [--mutant NAME]              who finds the mutants
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { runFleet } from "#test-cluster/sim/fleet.ts";
import { mutants } from "#test-cluster/sim/mutants/mutants.ts";
import { mutate } from "#test-cluster/sim/mutants/mutate.ts";
import type { Totals } from "#test-cluster/sim/run-seeds.ts";
import { searchMutants } from "#test-cluster/sim/search-mutants.ts";

const { values } = parseArgs({
  options: {
    seeds: { type: "string", default: "" },
    first: { type: "string" },
    seconds: { type: "string", default: "" },
    minutes: { type: "string" },
    jobs: { type: "string", default: String(availableParallelism()) },
    seed: { type: "string" },
    trace: { type: "boolean", default: false },
    mutant: { type: "string" },
    mutants: { type: "boolean", default: false },
  },
});
const mutant = values.mutant === undefined ? undefined : mutants.find((m) => m.name === values.mutant);
if (values.mutant !== undefined && mutant === undefined) throw new Error(`no mutant "${values.mutant}"`);

const tell = ({ seeds, simulatedMs, elections, commits, acknowledged, checked, events, lost, cpuMs }: Totals): void => {
  const cpu = cpuMs / 1000;
  console.log(
    `${seeds} seeds, ${(simulatedMs / 3.6e6).toFixed(2)} simulated hours, ${elections} elections, ${commits} commits, ` +
      `${acknowledged} acknowledged, ${checked} operations checked, ${lost} damaged disks refused, ${events} events; ` +
      `${(seeds / cpu).toFixed(1)} seeds and ${(simulatedMs / cpuMs).toFixed(0)} simulated seconds a CPU second (${cpu.toFixed(1)} s)`,
  );
};

if (values.mutants) {
  const options = {
    seeds: Number(values.seeds || 2000),
    seconds: Number(values.seconds || 20),
    jobs: Number(values.jobs),
  };
  process.exitCode = (await searchMutants(mutant === undefined ? mutants : [mutant], options)) ? 0 : 1;
} else if (values.seed !== undefined) {
  if (mutant !== undefined) mutate(mutant.edits);
  const { simulate } = await import("#test-cluster/sim/simulate.ts");
  const { failureText } = await import("#test-cluster/sim/run-seeds.ts");
  const seconds = Number(values.seconds || 60);
  const run = await simulate({
    ...{ seed: Number(values.seed), seconds, stacks: true },
    ...(mutant?.faults && { faults: mutant.faults }),
    ...(values.trace && { onLine: (line: string) => console.log(line) }),
  });
  console.log(failureText(run, seconds));
  console.log(`trace ${run.hash}`);
  if (run.violation !== null) process.exitCode = 1;
} else {
  const minutes = values.minutes === undefined ? undefined : Number(values.minutes);
  const first = Number(values.first ?? Math.floor(Date.now() / 1000));
  console.log(`from seed ${first}`);
  const { totals, failure } = await runFleet({
    first,
    count: values.seeds === "" ? (minutes === undefined ? 1000 : Number.POSITIVE_INFINITY) : Number(values.seeds),
    seconds: Number(values.seconds || 60),
    jobs: Number(values.jobs),
    ...(minutes !== undefined && { forMs: minutes * 60_000 }),
  });
  if (failure !== null) console.log(failure.text);
  tell(totals);
  if (failure !== null) process.exitCode = 1;
}
