import { TswarmError } from "#base/errors.ts";
import type { Stack } from "#control-plane/stack/parse.ts";
import type { Cli } from "#tsctl/cli.ts";

/** The stack file at `path` ("-": standard input) as specs; variables come from the environment. */
export const readStack = async (cli: Cli, path: string, name: string): Promise<Stack> => {
  // The YAML parser is loaded only by the verbs that need it.
  const { parseStack } = await import("#control-plane/stack/parse.ts");
  const bytes = await cli.read(path).catch((error: Error) => {
    throw new TswarmError("not_found", `can't read the stack file ${path}: ${error.message}`);
  });
  return parseStack(Buffer.from(bytes).toString("utf8"), { name, env: cli.env });
};
