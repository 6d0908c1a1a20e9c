import type { Verb } from "#tsctl/cli.ts";
import { changeService } from "#tsctl/service/change.ts";
import { followService } from "#tsctl/service/follow.ts";

export const serviceRollback: Verb = (noun, cli) =>
  noun
    .command("rollback")
    .description("Go back to a service's previous spec")
    .argument("<service>", "name, id or unique beginning of an id")
    .option("-d, --detach", "return at once, don't follow the tasks")
    .option("-q, --quiet", "no progress")
    .action(async (ref: string, options: { detach?: true; quiet?: true }) => {
      const service = await changeService(cli, ref, () => "rollback");
      cli.out.write(`${ref}\n`);
      if (!options.detach) await followService(cli, service, { quiet: options.quiet, rollback: true });
    });
