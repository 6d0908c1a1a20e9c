import type { Verb } from "#tsctl/cli.ts";
import { printTasks, type TaskListOptions, taskListOptions } from "#tsctl/service/task-list.ts";
import { servicesOfStack } from "#tsctl/stack/services.ts";

export const stackPs: Verb = (noun, cli) =>
  taskListOptions(noun.command("ps").description("List the tasks of a stack"))
    .argument("<stack>")
    .action(async (stack: string, options: TaskListOptions) => {
      const services = await servicesOfStack(cli, stack);
      await printTasks(cli, [{ key: "service", values: services.map((view) => view.service?.id ?? "") }], options);
    });
