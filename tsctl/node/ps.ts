import type { Verb } from "#tsctl/cli.ts";
import { resolveSelf } from "#tsctl/node/self.ts";
import { printTasks, type TaskListOptions, taskListOptions } from "#tsctl/service/task-list.ts";

export const nodePs: Verb = (noun, cli) =>
  taskListOptions(noun.command("ps").description("List the tasks of nodes"))
    .argument("[node...]", 'id, unique beginning of an id, or name; default "self"')
    .action(async (refs: string[], options: TaskListOptions) => {
      const control = await cli.control();
      const ids: string[] = [];
      for (const ref of refs.length > 0 ? refs : ["self"])
        ids.push((await control.getNode({ ref: await resolveSelf(cli, ref) })).node!.node!.id);
      await printTasks(cli, [{ key: "node", values: ids }], options);
    });
