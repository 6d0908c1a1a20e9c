import type { Verb } from "#tsctl/cli.ts";
import { followService } from "#tsctl/service/follow.ts";

export const serviceWait: Verb = (noun, cli) =>
  noun
    .command("wait")
    .description("Follow a service until its tasks are stable")
    .argument("<service>", "name, id or unique beginning of an id")
    .option("-q, --quiet", "no progress")
    .action(async (ref: string, options: { quiet?: true }) => {
      const { service } = await (await cli.control()).getService({ ref });
      await followService(cli, service!, options);
    });
