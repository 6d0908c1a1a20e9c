// The command line: `bin/tsctl` runs the bundle of this file, or the file itself where nothing was built.
import { dirname, join } from "node:path";
import { leave, processCli } from "#tsctl/process.ts";
import { run } from "#tsctl/run.ts";

// `tsctl … | head` closes our output early: nothing is wrong then.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") process.exit();
  throw error;
});

// Bundle (dist/) and source (tsctl/) are both one folder below the project.
const root = join(dirname(process.argv[1]!), "..");
run(process.argv.slice(2), (choice) => processCli(root, choice)).then(leave, (error) => {
  process.stderr.write(`tsctl: ${(error as Error).message}\n${(error as Error).stack}\n`);
  process.exit(1);
});
