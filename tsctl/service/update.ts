import { ServiceSpec } from "#proto/gen/types.ts";
import type { Verb } from "#tsctl/cli.ts";
import { changeService } from "#tsctl/service/change.ts";
import type { ServiceFlags } from "#tsctl/service/flags.ts";
import { followService } from "#tsctl/service/follow.ts";
import { updateOptions } from "#tsctl/service/options.ts";
import { changedServiceSpec } from "#tsctl/service/spec.ts";

export const serviceUpdate: Verb = (noun, cli) =>
  updateOptions(noun.command("update").description("Change a service; tasks are replaced as its update policy says"))
    .argument("<service>", "name, id or unique beginning of an id")
    .addHelpText(
      "after",
      `
Examples:
  tsctl service update --image localhost/web:2 web
  tsctl service update --env-add LEVEL=debug --constraint-add node.labels.rack==a web
  tsctl service update --force web`,
    )
    .action(async (ref: string, flags: ServiceFlags) => {
      // Wrong flags are told before anything is dialed.
      changedServiceSpec(ServiceSpec.fromPartial({}), flags, { env: cli.env });
      const ids = new Map<string, string>();
      const named = [...(flags.networkAdd ?? []), ...(flags.networkRm ?? [])];
      if (named.length > 0) {
        const { networks } = await (await cli.control()).listNetworks({ filters: [] });
        for (const network of networks) ids.set(network.spec?.annotations?.name ?? "", network.id);
      }
      const context = { env: cli.env, networkId: (name: string) => ids.get(name) ?? name };
      const service = await changeService(cli, ref, ({ spec }) =>
        flags.rollback ? "rollback" : { spec: changedServiceSpec(spec ?? ServiceSpec.fromPartial({}), flags, context) },
      );
      cli.out.write(`${ref}\n`);
      if (!flags.detach) await followService(cli, service, flags);
    });
