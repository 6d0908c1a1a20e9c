import type { Verb } from "#tsctl/cli.ts";

export const imageTag: Verb = (noun, cli) =>
  noun
    .command("tag")
    .description("Give an image another name")
    .argument("<source>", "name or digest")
    .argument("<target>", "the new name")
    .action(async (source: string, target: string) => {
      await (await cli.local()).tagImage({ source, target });
    });
