import type { Verb } from "#tsctl/cli.ts";

export const networkRm: Verb = (noun, cli) =>
  noun
    .command("rm")
    .alias("remove")
    .description("Remove networks that nobody uses")
    .argument("<network...>", "name, id or unique beginning of an id")
    .action(async (refs: string[]) => {
      const control = await cli.control();
      for (const ref of refs) {
        await control.removeNetwork({ ref });
        cli.out.write(`${ref}\n`);
      }
    });
