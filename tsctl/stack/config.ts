import type { Verb } from "#tsctl/cli.ts";
import { plain } from "#tsctl/output/plain.ts";
import { readStack } from "#tsctl/stack/read.ts";

export const stackConfig: Verb = (noun, cli) =>
  noun
    .command("config")
    .description("Show what a stack file means, without deploying it")
    .requiredOption("-c, --compose-file <file>", 'stack file, "-" for standard input')
    .option("--name <stack>", 'name of the stack; default: "stack"')
    .action(async (options: { composeFile: string; name?: string }) => {
      const { name, networks, services } = await readStack(cli, options.composeFile, options.name ?? "stack");
      const config = { name, networks: networks.map((n) => plain(n)), services: services.map((s) => plain(s)) };
      cli.out.write(`${JSON.stringify(config, null, 2)}\n`);
    });
