import type { Verb } from "#tsctl/cli.ts";
import { hasEnded, watchTask } from "#tsctl/container/follow.ts";

export const containerStop: Verb = (program, cli) =>
  program
    .command("stop")
    .description("Stop containers of their own and wait until they have ended")
    .argument("<container...>", "name, id or unique beginning of an id")
    .action(async (refs: string[]) => {
      const control = await cli.control();
      const stopped: { ref: string; id: string }[] = [];
      for (const ref of refs) stopped.push({ ref, id: (await control.stopContainer({ ref })).task!.id });
      for (const { ref, id } of stopped) {
        await watchTask(cli, id, hasEnded, cli.interrupt());
        cli.out.write(`${ref}\n`);
      }
    });
