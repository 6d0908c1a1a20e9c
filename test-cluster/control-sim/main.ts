// node test-cluster/control-sim/main.ts [--seeds 100] [--first 1] [--seconds 60]   many runs, until one fails
// node test-cluster/control-sim/main.ts --seed N [--seconds 60]                     one run, with its trace hash
import { parseArgs } from "node:util";
import { type Run, simulate } from "#test-cluster/control-sim/simulate.ts";

const { values } = parseArgs({
  options: {
    seeds: { type: "string", default: "100" },
    first: { type: "string", default: "1" },
    seconds: { type: "string", default: "60" },
    seed: { type: "string" },
    events: { type: "string", default: "60" },
  },
});
const seconds = Number(values.seconds);
const first = Number(values.seed ?? values.first);
const count = values.seed === undefined ? Number(values.seeds) : 1;

const tell = ({ violation, mix, lastEvents, seed, hash }: Run): void => {
  if (violation !== null) {
    console.log(`${lastEvents.slice(-Number(values.events)).join("\n")}\n`);
    console.log(`faults: ${JSON.stringify(mix)}`);
    console.log(`VIOLATED ${violation.property}: ${violation.detail}`);
    console.log(`seed ${seed}; again: node test-cluster/control-sim/main.ts --seed ${seed} --seconds ${seconds}`);
  }
  console.log(`trace ${hash}`);
};

const begin = process.cpuUsage();
const total = { seeds: 0, ms: 0, commits: 0, acknowledged: 0, refused: 0, starts: 0, viewsCompared: 0 };
for (let seed = first; seed < first + count; seed++) {
  const run = await simulate({ seed, seconds });
  total.seeds++;
  total.ms += run.simulatedMs;
  for (const key of ["commits", "acknowledged", "refused", "starts", "viewsCompared"] as const) total[key] += run[key];
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
    `${cpu.toFixed(1)} CPU-s`,
);
