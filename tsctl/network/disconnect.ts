import type { Verb } from "#tsctl/cli.ts";

export const networkDisconnect: Verb = (noun, cli) =>
  noun
    .command("disconnect")
    .description("Take a running container or task from a network")
    .argument("<network>", "name, id or unique beginning of an id")
    .argument("<container>", 'name of a container, "web.1", or a task\'s id or the unique beginning of it')
    .option("-f, --force", "also while its node is down")
    .action(async (network: string, task: string, options: { force?: true }) => {
      await (await cli.control()).disconnectNetwork({ network, task, force: options.force ?? false });
    });
