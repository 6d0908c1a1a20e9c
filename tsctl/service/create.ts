import { ServiceSpec } from "#proto/gen/types.ts";
import type { Cli, Verb } from "#tsctl/cli.ts";
import { readEnvFiles } from "#tsctl/flags/env-file.ts";
import type { ServiceFlags } from "#tsctl/service/flags.ts";
import { followService } from "#tsctl/service/follow.ts";
import { createOptions } from "#tsctl/service/options.ts";
import { newServiceSpec } from "#tsctl/service/spec.ts";

const withEnvFiles = async (cli: Cli, flags: ServiceFlags): Promise<ServiceFlags> => {
  const fromFiles = await readEnvFiles(cli, flags.envFile ?? []);
  return { ...flags, env: [...fromFiles, ...(flags.env ?? [])] };
};

export const serviceCreate: Verb = (noun, cli) =>
  createOptions(
    noun.command("create").description("Run an image as a service and follow its tasks until they are stable"),
  )
    .argument("<image>", "what to run, as `tsctl image ls` shows it")
    .argument("[command...]", "arguments of the container")
    .passThroughOptions()
    .addHelpText(
      "after",
      `
Examples:
  tsctl service create --name web --network backend --replicas 6 localhost/web:1
  tsctl service create --name client --network backend localhost/tools:1 sleep infinity
  tsctl service create --name job --restart-condition none -e MODE=fast localhost/busybox:1 sh -c 'echo $MODE'`,
    )
    .action(async (image: string, args: string[], flags: ServiceFlags) => {
      const spec = newServiceSpec(image, args, await withEnvFiles(cli, flags), { env: cli.env });
      const control = await cli.control();
      const { service, warnings } = await control.createService({ spec: ServiceSpec.fromPartial(spec) });
      for (const warning of warnings) cli.err.write(`warning: ${warning}\n`);
      cli.out.write(`${service!.id}\n`);
      if (!flags.detach) await followService(cli, service!, flags);
    });
