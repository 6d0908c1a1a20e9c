import { TswarmError } from "#base/errors.ts";
import type { Verb } from "#tsctl/cli.ts";
import { watchTask } from "#tsctl/container/follow.ts";

export const containerRm: Verb = (program, cli) =>
  program
    .command("rm")
    .description("Remove containers of their own")
    .argument("<container...>", "name, id or unique beginning of an id")
    .option("-f, --force", "also one that runs, and don't mind one that is not there")
    .action(async (refs: string[], options: { force?: true }) => {
      const control = await cli.control();
      const removed: { ref: string; id: string }[] = [];
      for (const ref of refs)
        try {
          removed.push({ ref, id: (await control.removeContainer({ ref, force: options.force ?? false })).id });
        } catch (error) {
          if (!(options.force && error instanceof TswarmError && error.code === "not_found")) throw error;
        }
      for (const { ref, id } of removed) {
        await watchTask(cli, id, () => false, cli.interrupt());
        cli.out.write(`${ref}\n`);
      }
    });
