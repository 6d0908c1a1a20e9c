import type { Verb } from "#tsctl/cli.ts";
import { type ContextChoice, resolveContext } from "#tsctl/context.ts";
import { renderFields } from "#tsctl/output/fields.ts";

export const contextShow: Verb = (noun, cli) =>
  noun
    .command("show", { isDefault: true })
    .description("Show which host tsctl talks to, and why")
    .action(() => {
      const { name, host, reason } = resolveContext(noun.parent!.opts<ContextChoice>(), cli.env, cli.contexts);
      cli.out.write(
        renderFields([
          ["Context", name],
          ["Host", host],
          ["Because of", reason],
        ]),
      );
    });
