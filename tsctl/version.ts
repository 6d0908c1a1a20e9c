import { TswarmError } from "#base/errors.ts";
import type { Verb } from "#tsctl/cli.ts";
import { renderFields } from "#tsctl/output/fields.ts";

export const version: Verb = (program, cli) =>
  program
    .command("version")
    .description("Show the versions of tsctl and of the agent that answers")
    .action(async () => {
      // Worth knowing without a cluster too.
      const agent = await cli
        .local()
        .then((local) => local.info({}))
        .then((answer) => answer.version)
        .catch((error) => (error instanceof TswarmError ? "not reachable" : Promise.reject(error)));
      cli.out.write(
        renderFields([
          ["tsctl", cli.version()],
          ["Agent", agent],
        ]),
      );
    });
