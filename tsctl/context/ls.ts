import type { Verb } from "#tsctl/cli.ts";
import { type ContextChoice, resolveContext } from "#tsctl/context.ts";
import { type ListOptions, listOptions, printList } from "#tsctl/output/list.ts";

const LAYOUT = { headers: { Name: "NAME", Host: "HOST" }, columns: ["Name", "Host"], key: "Name" };

export const contextLs: Verb = (noun, cli) =>
  listOptions(noun.command("ls").alias("list").description("List the contexts; * marks the one in use")).action(
    (options: ListOptions) => {
      const used = resolveContext(noun.parent!.opts<ContextChoice>(), cli.env, cli.contexts);
      const table = options.format === undefined && !options.quiet;
      const rows = Object.entries(cli.contexts.config().contexts).map(([Name, { host }]) => ({
        Name: table && Name === used.name ? `${Name} *` : Name,
        Host: host,
        Current: Name === used.name,
      }));
      printList(cli, LAYOUT, rows, options);
    },
  );
