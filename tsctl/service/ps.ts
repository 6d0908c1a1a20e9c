import type { Verb } from "#tsctl/cli.ts";
import { printTasks, type TaskListOptions, taskListOptions } from "#tsctl/service/task-list.ts";

export const servicePs: Verb = (noun, cli) =>
  taskListOptions(noun.command("ps").description("List the tasks of services, with their history"))
    .argument("<service...>", "name, id or unique beginning of an id")
    .action(async (refs: string[], options: TaskListOptions) => {
      const control = await cli.control();
      const ids: string[] = [];
      for (const ref of refs) ids.push((await control.getService({ ref })).service!.id);
      await printTasks(cli, [{ key: "service", values: ids }], options);
    });
