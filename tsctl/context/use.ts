import { refuse } from "#base/errors.ts";
import type { Verb } from "#tsctl/cli.ts";

export const contextUse: Verb = (noun, cli) =>
  noun
    .command("use")
    .description('Use a context from now on; "default" for none')
    .argument("<name>")
    .action((name: string) => {
      const { contexts } = cli.contexts.config();
      if (name !== "default" && !contexts[name])
        throw refuse("not_found", "name", `there is no context "${name}"`, "See tsctl context ls");
      cli.contexts.saveConfig(name === "default" ? { contexts } : { current: name, contexts });
      cli.out.write(`${name}\n`);
      for (const variable of ["TSWARM_HOST", "TSWARM_CONTEXT"])
        if (cli.env[variable]) cli.err.write(`warning: ${variable} is set and goes before it\n`);
    });
