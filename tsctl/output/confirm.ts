import type { Cli } from "#tsctl/cli.ts";

/** Asks on stderr and reads one line; only y and yes are a yes. Without an answer nothing shall happen, and the exit code is 1. */
export const confirm = async (cli: Cli, warning: string, otherwise = "nothing was removed"): Promise<boolean> => {
  cli.err.write(`WARNING! ${warning}\nAre you sure you want to continue? [y/N] `);
  const decoder = new TextDecoder();
  let answer = "";
  for await (const bytes of cli.in.bytes()) {
    answer += decoder.decode(bytes, { stream: true });
    if (answer.includes("\n")) break;
  }
  if (/^\s*y(es)?\s*$/i.test(answer.split("\n", 1)[0]!)) return true;
  cli.err.write(`${answer.includes("\n") ? "" : "\n"}${otherwise}\n`);
  cli.exit(1);
  return false;
};
