import type { Verb } from "#tsctl/cli.ts";

export const imageRm: Verb = (noun, cli) =>
  noun
    .command("rm")
    .alias("remove")
    .description("Remove images from the node that answers")
    .argument("<image...>", "name, digest or unique beginning of a digest")
    .option("-f, --force", "also if it has other names")
    .action(async (refs: string[], options: { force?: true }) => {
      const local = await cli.local();
      for (const ref of refs) {
        const { untagged, deleted } = await local.removeImage({ ref, force: options.force ?? false });
        for (const name of untagged) cli.out.write(`Untagged: ${name}\n`);
        for (const digest of deleted) cli.out.write(`Deleted: ${digest}\n`);
      }
    });
