import type { Verb } from "#tsctl/cli.ts";

export const clusterLeave: Verb = (noun, cli) =>
  noun
    .command("leave")
    .description("Take this node out of its cluster")
    .option("-f, --force", "also a manager, even when the cluster loses its quorum")
    .action(async (options: { force?: true }) => {
      await (await cli.local()).leave({ force: options.force ?? false });
      cli.out.write("Node left the cluster.\n");
    });
