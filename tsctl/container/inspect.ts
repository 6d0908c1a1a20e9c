import type { Verb } from "#tsctl/cli.ts";
import { type InspectOptions, inspectOptions, printInspect } from "#tsctl/output/inspect.ts";
import { plain } from "#tsctl/output/plain.ts";

export const containerInspect: Verb = (program, cli) =>
  inspectOptions(program.command("inspect").description("Show containers and tasks in detail"))
    .argument("<container...>", 'name of a container, "web.1", or a task\'s id or the unique beginning of it')
    .action(async (refs: string[], options: InspectOptions) => {
      const control = await cli.control();
      const tasks: unknown[] = [];
      for (const ref of refs) tasks.push(plain((await control.getTask({ ref })).task));
      printInspect(cli, tasks, options);
    });
