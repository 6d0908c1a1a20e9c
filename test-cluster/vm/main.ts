// Runs something in a fresh virtual machine, with its output and exit code:
//   node test-cluster/vm/main.ts run ip -d link
//   node test-cluster/vm/main.ts mocha node-agent/runtime/*.test.ts
import { startVm } from "./vm.ts";

/** Everything is some ten times slower in emulation. */
const MOCHA = ["node", "node_modules/mocha/bin/mocha.js", "--timeout", "200000", "--reporter", "spec"];
const TIMEOUT_MS = 20 * 60_000;

const quote = (word: string): string => `'${word.replaceAll("'", `'\\''`)}'`;

const [verb, ...words] = process.argv.slice(2);
if (!(verb === "run" || verb === "mocha") || words.length === 0) {
  console.error("usage: vm/main.ts run COMMAND [ARGUMENT...] | vm/main.ts mocha FILE.test.ts...");
  process.exit(2);
}
const command = (verb === "run" ? words : [...MOCHA, ...words]).map(quote).join(" ");
const vm = await startVm();
try {
  const { code } = await vm.run(command, { timeoutMs: TIMEOUT_MS, onOutput: (text) => process.stdout.write(text) });
  process.stdout.write("\n");
  process.exitCode = code;
} finally {
  await vm.stop();
}
