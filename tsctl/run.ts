import { CommanderError } from "commander";
import { TswarmError } from "#base/errors.ts";
import type { Cli } from "#tsctl/cli.ts";
import { renderError } from "#tsctl/output/errors.ts";
import { makeProgram } from "#tsctl/program.ts";

/** Wrong usage, as opposed to 1 for what was refused or failed. */
const USAGE = 2;

/** Parses and carries out one command line (without the interpreter and script). Exit codes go to `cli.exit`. */
export const run = async (args: readonly string[], makeCli: (choice: () => object) => Cli): Promise<void> => {
  const program: { current?: ReturnType<typeof makeProgram> } = {};
  const cli = makeCli(() => program.current?.opts() ?? {});
  program.current = makeProgram(cli, args);
  try {
    await program.current.parseAsync([...args], { from: "user" });
  } catch (error) {
    if (error instanceof CommanderError) return cli.exit(error.exitCode === 0 ? 0 : USAGE);
    if (!(error instanceof TswarmError)) throw error;
    cli.err.write(renderError(error));
    cli.exit(1);
  }
};
