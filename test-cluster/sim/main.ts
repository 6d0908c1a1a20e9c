// node test-cluster/sim/main.ts [--seeds 500] [--first 1] [--seconds 30]   many runs, until one fails
// node test-cluster/sim/main.ts --seed N [--seconds 30]                    one run, with its trace hash
import { parseArgs } from "node:util";
import { type Run, simulate } from "#test-cluster/sim/simulate.ts";

const { values } = parseArgs({
  options: {
    seeds: { type: "string", default: "500" },
    first: { type: "string", default: "1" },
    seconds: { type: "string", default: "30" },
    seed: { type: "string" },
  },
});
const seconds = Number(values.seconds);
const first = Number(values.seed ?? values.first);
const count = values.seed === undefined ? Number(values.seeds) : 1;

const tell = (run: Run): void => {
  const { violation, mix, lastEvents, seed, hash } = run;
  if (violation !== null) {
    console.log(`${lastEvents.join("\n")}\n`);
    console.log(`faults: ${JSON.stringify(mix)}`);
    console.log(`VIOLATED ${violation.property}: ${violation.detail}`);
    if (violation.stack !== undefined) console.log(violation.stack);
    console.log(`seed ${seed}; again: node test-cluster/sim/main.ts --seed ${seed} --seconds ${seconds}`);
  }
  console.log(`trace ${hash}`);
};

const begin = process.cpuUsage();
const total = { seeds: 0, ms: 0, elections: 0, commits: 0, acknowledged: 0, events: 0 };
for (let seed = first; seed < first + count; seed++) {
  const run = await simulate({ seed, seconds, stacks: count === 1 });
  total.seeds++;
  total.ms += run.simulatedMs;
  total.elections += run.elections;
  total.commits += run.commits;
  total.acknowledged += run.acknowledged;
  total.events += run.events;
  if (run.violation !== null || count === 1) tell(run);
  if (run.violation !== null) {
    process.exitCode = 1;
    break;
  }
}
const { user, system } = process.cpuUsage(begin);
const cpu = (user + system) / 1e6;
console.log(
  `${total.seeds} seeds, ${(total.ms / 3.6e6).toFixed(2)} simulated hours, ${total.elections} elections, ${total.commits} commits, ` +
    `${total.acknowledged} acknowledged, ${total.events} trace lines; ${(total.seeds / cpu).toFixed(1)} seeds and ` +
    `${(total.ms / 1000 / cpu).toFixed(0)} simulated seconds a CPU second (${cpu.toFixed(1)} s)`,
);
