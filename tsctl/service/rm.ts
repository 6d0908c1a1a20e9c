import type { Verb } from "#tsctl/cli.ts";
import { removeAndWait } from "#tsctl/service/gone.ts";

export const serviceRm: Verb = (noun, cli) =>
  noun
    .command("rm")
    .alias("remove")
    .description("Remove services and wait until their tasks have stopped")
    .argument("<service...>", "name, id or unique beginning of an id")
    .option("-d, --detach", "return at once, don't wait")
    .action(async (refs: string[], options: { detach?: true }) => {
      const remove = async () => {
        const control = await cli.control();
        const ids: string[] = [];
        for (const ref of refs) {
          ids.push((await control.removeService({ ref })).id);
          cli.out.write(`${ref}\n`);
        }
        return ids;
      };
      if (options.detach) await remove();
      else await removeAndWait(cli, remove);
    });
