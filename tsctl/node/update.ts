import { Option } from "commander";
import { NodeAvailability, NodeRole } from "#proto/gen/types.ts";
import type { Verb } from "#tsctl/cli.ts";
import { labelPairs } from "#tsctl/flags/pairs.ts";
import { changeNode } from "#tsctl/node/change.ts";
import { collect } from "#tsctl/output/list.ts";

type Options = { availability?: string; role?: string; labelAdd: string[]; labelRm: string[] };

const AVAILABILITY: Readonly<Record<string, NodeAvailability>> = {
  active: NodeAvailability.ACTIVE,
  pause: NodeAvailability.PAUSE,
  drain: NodeAvailability.DRAIN,
};
const ROLE: Readonly<Record<string, NodeRole>> = { worker: NodeRole.WORKER, manager: NodeRole.MANAGER };

export const nodeUpdate: Verb = (noun, cli) =>
  noun
    .command("update")
    .description("Change a node's availability, role or labels")
    .argument("<node>", "id, unique beginning of an id, or name")
    .addOption(
      new Option("--availability <what>", "pause: no new tasks; drain: none at all").choices([
        "active",
        "pause",
        "drain",
      ]),
    )
    .addOption(new Option("--role <role>").choices(["worker", "manager"]))
    .option("--label-add <key=value>", "add or change a label; repeatable", collect, [])
    .option("--label-rm <key>", "remove a label; repeatable", collect, [])
    .action(async (ref: string, options: Options) => {
      const labels = labelPairs("--label-add", options.labelAdd);
      await changeNode(cli, ref, (spec) => {
        const all = { ...spec.annotations?.labels, ...labels };
        for (const key of options.labelRm) delete all[key];
        return {
          ...spec,
          annotations: { name: spec.annotations?.name ?? "", labels: all },
          availability: options.availability ? AVAILABILITY[options.availability]! : spec.availability,
          role: options.role ? ROLE[options.role]! : spec.role,
        };
      });
      cli.out.write(`${ref}\n`);
    });
