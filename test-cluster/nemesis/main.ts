// `make nemesis`: minutes of faults against a cluster of real processes, as root.
//   node test-cluster/nemesis/main.ts [--minutes 10] [--nodes 3] [--seed N]
import { cpSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { nemesisCluster, runNemesis } from "#test-cluster/nemesis/nemesis.ts";
import { findCluster, ROOT } from "#test-cluster/netns/cluster.ts";

const NAME = "tswnem";
const NUMBER = 73;

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "10" },
    nodes: { type: "string", default: "3" },
    seed: { type: "string", default: String(Date.now() % 1_000_000) },
  },
});
const say = (line: string): void => void process.stdout.write(`${line}\n`);
const [seed, nodes] = [Number(values.seed), Number(values.nodes)];
say(`seed ${seed}, ${nodes} managers, ${values.minutes} minutes`);

await findCluster(NAME)?.down();
const cluster = await nemesisCluster(NAME, NUMBER, nodes);
const stop = (): void => void cluster.down().finally(() => process.exit(1));
process.once("SIGINT", stop).once("SIGTERM", stop);
let failed = false;
try {
  const { problems } = await runNemesis(cluster, { seed, seconds: Number(values.minutes) * 60, say });
  failed = problems.length > 0;
  for (const problem of problems) say(`WRONG: ${problem}`);
  if (failed) {
    const kept = join(ROOT, `build/nemesis-${seed}`);
    mkdirSync(kept, { recursive: true });
    for (const { name, dir } of cluster.layout.nodes) cpSync(join(dir, "agent.log"), join(kept, `${name}.log`));
    say(`the agents' logs are in ${kept}`);
  } else say("nothing wrong");
} finally {
  await cluster.down();
}
process.exit(failed ? 1 : 0);
