import { Argument } from "commander";
import type { Verb } from "#tsctl/cli.ts";

export const joinCommand = (token: string, addrs: readonly string[]): string =>
  `tsctl cluster join --token ${token} ${addrs[0] ?? "MANAGER:2377"}`;

export const clusterJoinToken: Verb = (noun, cli) =>
  noun
    .command("join-token")
    .description("Show the command that adds a node")
    .addArgument(new Argument("<role>").choices(["worker", "manager"]))
    .option("--rotate", "make a new token; the old one stops to work")
    .option("-q, --quiet", "only the token")
    .action(async (role: "worker" | "manager", options: { rotate?: true; quiet?: true }) => {
      const rotate = options.rotate ?? false;
      const tokens = await (await cli.control()).getJoinTokens({
        rotateWorker: rotate && role === "worker",
        rotateManager: rotate && role === "manager",
      });
      const token = tokens[role];
      if (options.quiet) return cli.out.write(`${token}\n`);
      if (rotate) cli.out.write(`Rotated the ${role} token.\n\n`);
      cli.out.write(`To add a ${role}, run on its host:\n\n    ${joinCommand(token, tokens.managerAddrs)}\n`);
    });
