// node test-cluster/control-sim/main.ts [--seeds 100] [--first 1] [--step 1] [--seconds 60]   many runs, until one fails
// node test-cluster/control-sim/main.ts --seed N [--seconds 60]                    one run, with its trace hash
// --trace: prints every event. --mutant NAME: with that deliberate fault in the code
import { parseArgs } from "node:util";
import { MUTANTS, plant } from "#test-cluster/control-sim/mutants.ts";
import type { Run } from "#test-cluster/control-sim/simulate.ts";

const { values } = parseArgs({
  options: {
    seeds: { type: "string", default: "100" },
    first: { type: "string", default: "1" },
    step: { type: "string", default: "1" },
    seconds: { type: "string", default: "60" },
    seed: { type: "string" },
    events: { type: "string", default: "60" },
    trace: { type: "boolean", default: false },
    mutant: { type: "string" },
  },
});
const seconds = Number(values.seconds);
const first = Number(values.seed ?? values.first);
const count = values.seed === undefined ? Number(values.seeds) : 1;
const mutant = MUTANTS.find(({ name }) => name === values.mutant);
if (values.mutant !== undefined && mutant === undefined) throw new Error(`there is no mutant ${values.mutant}`);
if (mutant !== undefined) plant(mutant);
// After the fault is planted.
const { simulate } = await import("#test-cluster/control-sim/simulate.ts");

const tell = ({ violation, mix, lastEvents, seed, hash }: Run): void => {
  if (violation !== null) {
    console.log(`${lastEvents.slice(-Number(values.events)).join("\n")}\n`);
    console.log(`faults: ${JSON.stringify(mix)}`);
    console.log(`VIOLATED ${violation.property}: ${violation.detail}`);
    const more = mutant === undefined ? "" : ` --mutant "${mutant.name}"`;
    console.log(
      `seed ${seed}; again: node test-cluster/control-sim/main.ts --seed ${seed} --seconds ${seconds}${more}`,
    );
  }
  console.log(`trace ${hash}`);
};

const begin = process.cpuUsage();
const total = { seeds: 0, ms: 0, commits: 0, acknowledged: 0, refused: 0, starts: 0, viewsCompared: 0, roleChanges: 0 };
for (let i = 0; i < count; i++) {
  const run = await simulate({
    seed: first + i * Number(values.step),
    seconds,
    ...(mutant?.faults && { faults: mutant.faults }),
    ...(values.trace && { onEvent: console.log }),
  });
  total.seeds++;
  total.ms += run.simulatedMs;
  const counted = ["commits", "acknowledged", "refused", "starts", "viewsCompared", "roleChanges"] as const;
  for (const key of counted) total[key] += run[key];
  if (run.violation !== null || count === 1) tell(run);
  if (run.violation !== null) {
    process.exitCode = 1;
    break;
  }
}
const { user, system } = process.cpuUsage(begin);
const cpu = (user + system) / 1e6;
console.log(
  `${total.seeds} seeds, ${(total.ms / 3.6e6).toFixed(2)} simulated hours, ${total.commits} commits, ${total.acknowledged} ` +
    `acknowledged, ${total.refused} refused, ${total.starts} containers, ${total.viewsCompared} views compared, ` +
    `${total.roleChanges} managers that came or went, ` +
    `${cpu.toFixed(1)} CPU-s`,
);
