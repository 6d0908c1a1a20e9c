// Milliseconds of the command line against `node -e 0`: help, and a list from a running cluster.
// Usage, as root: node bench/cli.ts
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { ROOT } from "#test-cluster/netns/cluster.ts";
import { withCluster } from "./measure/cluster.ts";
import { spread, tell } from "./measure/figures.ts";

const RUNS = 15;

const time = (command: string, ...args: string[]): number => {
  const at = performance.now();
  execFileSync(command, args, { stdio: "ignore" });
  return performance.now() - at;
};

await withCluster(1, async (cluster) => {
  const tsctl = join(ROOT, "bin/tsctl");
  const host = ["--host", `unix:${cluster.layout.nodes[0]!.socket}`];
  const bare: number[] = [];
  const help: number[] = [];
  const list: number[] = [];
  // In turns, so that what else the machine does meets all three alike.
  for (let run = -1; run < RUNS; run++) {
    const times = [time(process.execPath, "-e", "0"), time(tsctl, "--help"), time(tsctl, ...host, "node", "ls")];
    if (run >= 0) for (const [i, to] of [bare, help, list].entries()) to.push(times[i]!);
  }
  tell("node -e 0", bare, "ms", 1);
  tell("tsctl --help", help, "ms", 1);
  tell("tsctl node ls", list, "ms", 1);
  const ratio = (values: readonly number[]) => (spread(values).median / spread(bare).median).toFixed(2);
  console.log(`times as long as node -e 0: --help ${ratio(help)}, node ls ${ratio(list)} (wanted: less than 2.5)`);
});
