import { TswarmError } from "#base/errors.ts";
import type { Cli, Verb } from "#tsctl/cli.ts";
import { followContainer, whenStarted } from "#tsctl/container/follow.ts";
import { type RunFlags, runOptions } from "#tsctl/container/options.ts";
import { runRequest } from "#tsctl/container/spec.ts";
import { readEnvFiles } from "#tsctl/flags/env-file.ts";
import { withoutOptimisation } from "#tsctl/steady.ts";

export const RUN_TEXT = "Run an image as a container of its own, on one node";

/** The node whose agent answers; a manager that is asked directly has none, and chooses. */
const here = async (cli: Cli): Promise<string> => {
  try {
    return (await (await cli.local()).info({})).nodeId;
  } catch (error) {
    if (error instanceof TswarmError && error.code === "unsupported") return "";
    throw error;
  }
};

export const containerRun: Verb = (program, cli) =>
  runOptions(program.command("run").description(RUN_TEXT))
    .argument("<image>", "what to run, as `tsctl image ls` shows it")
    .argument("[command...]", "arguments of the container")
    .passThroughOptions()
    .addHelpText(
      "after",
      `
Examples:
  tsctl run --rm localhost/tools:1 ping -c 3 192.0.2.1
  tsctl run -d --name box --network backend localhost/tools:1 sleep infinity
  tsctl run -d --node node2 -p 8080:80 localhost/web:1`,
    )
    .action(async (image: string, args: string[], given: RunFlags) => {
      const env = [...(await readEnvFiles(cli, given.envFile)), ...given.env];
      const flags = { ...given, env };
      const request = runRequest(image, args, flags, { env: cli.env, node: flags.node ?? "" });
      const control = await cli.control();
      const { task, warnings } = await control.runContainer({ ...request, node: request.node || (await here(cli)) });
      for (const warning of warnings) cli.err.write(`warning: ${warning}\n`);
      if (flags.detach) {
        cli.out.write(`${task!.id}\n`);
        cli.exit(await whenStarted(cli, task!));
        return;
      }
      await withoutOptimisation();
      const code = await followContainer(cli, task!);
      if (flags.rm) await removed(cli, task!.id);
      cli.exit(code);
    });

/** At once: the managers would wait a moment, for those who read its output. */
const removed = async (cli: Cli, ref: string): Promise<void> => {
  try {
    await (await cli.control()).removeContainer({ ref, force: true });
  } catch (error) {
    if (!(error instanceof TswarmError) || error.code !== "not_found") throw error;
  }
};
