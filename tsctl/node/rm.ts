import type { Verb } from "#tsctl/cli.ts";

export const nodeRm: Verb = (noun, cli) =>
  noun
    .command("rm")
    .alias("remove")
    .description("Remove nodes that have left the cluster")
    .argument("<node...>", "id, unique beginning of an id, or name")
    .option("-f, --force", "also a node that is up")
    .action(async (refs: string[], options: { force?: true }) => {
      const control = await cli.control();
      for (const ref of refs) {
        await control.removeNode({ ref, force: options.force ?? false });
        cli.out.write(`${ref}\n`);
      }
    });
