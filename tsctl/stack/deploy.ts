import type { StackAction } from "#proto/gen/control.ts";
import type { Verb } from "#tsctl/cli.ts";
import { followService } from "#tsctl/service/follow.ts";
import { readStack } from "#tsctl/stack/read.ts";

type Options = { composeFile: string; prune?: true; detach: boolean; quiet?: true };

const VERBS: Readonly<Record<string, string>> = {
  create: "Creating",
  update: "Updating",
  unchanged: "Unchanged",
  remove: "Removing",
};

export const describeAction = (action: StackAction): string =>
  `${VERBS[action.action] ?? action.action} ${action.kind} ${action.name}\n`;

export const stackDeploy: Verb = (noun, cli) =>
  noun
    .command("deploy")
    .alias("up")
    .description("Create or change all networks and services of a stack file, in one transaction")
    .argument("<stack>", "name of the stack: its services are called stack_service")
    .requiredOption("-c, --compose-file <file>", 'stack file, "-" for standard input')
    .option("--prune", "remove services that the file no longer has")
    .option("-d, --detach", "return at once (default, as Docker's)", true)
    .option("--no-detach", "follow the services until they are stable")
    .option("-q, --quiet", "no progress")
    .addHelpText(
      "after",
      "\nExample:\n  tsctl stack deploy -c deploy/stacks/demo.yaml demo\n\nKeys that this version does not know are refused by their path, never ignored.",
    )
    .action(async (name: string, options: Options) => {
      const { networks, services } = await readStack(cli, options.composeFile, name);
      const control = await cli.control();
      const { actions } = await control.deployStack({ name, networks, services, prune: options.prune ?? false });
      for (const action of actions) cli.out.write(describeAction(action));
      if (options.detach) return;
      for (const { kind, action, id } of actions) {
        if (kind !== "service" || action === "remove") continue;
        const { service } = await control.getService({ ref: id });
        if (!options.quiet) cli.out.write(`${service!.spec?.annotations?.name}\n`);
        await followService(cli, service!, { quiet: options.quiet });
      }
    });
