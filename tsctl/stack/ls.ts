import { STACK_LABEL } from "#control-plane/stack/service.ts";
import type { Verb } from "#tsctl/cli.ts";
import { type ListOptions, listOptions, printList } from "#tsctl/output/list.ts";
import { naturalOrder } from "#tsctl/output/natural-order.ts";

const LAYOUT = { headers: { Name: "NAME", Services: "SERVICES" }, columns: ["Name", "Services"], key: "Name" };

export const stackLs: Verb = (noun, cli) =>
  listOptions(noun.command("ls").alias("list").description("List the stacks")).action(async (options: ListOptions) => {
    const { services } = await (await cli.control()).listServices({ filters: [] });
    const counts = new Map<string, number>();
    for (const { service } of services) {
      const stack = service?.spec?.annotations?.labels[STACK_LABEL];
      if (stack) counts.set(stack, (counts.get(stack) ?? 0) + 1);
    }
    const rows = [...counts].sort(([a], [b]) => naturalOrder(a, b)).map(([Name, Services]) => ({ Name, Services }));
    printList(cli, LAYOUT, rows, options);
  });
