// Changes of a live network: read, change, write with the version that was read; again when somebody else was faster.
import { type Issue, refuse, refuseAll, TswarmError } from "#base/errors.ts";
import { NetworkSpec } from "#proto/gen/types.ts";
import type { Verb } from "#tsctl/cli.ts";
import { readPairs } from "#tsctl/flags/pairs.ts";
import { type IpamFlags, ipamConfigs } from "#tsctl/network/ipam-flags.ts";
import { collect } from "#tsctl/output/list.ts";

type UpdateFlags = IpamFlags & {
  readonly subnetAdd: readonly string[];
  readonly labelAdd: readonly string[];
  readonly labelRm: readonly string[];
};

const ATTEMPTS = 5;

/** The change as a function, judged before anything is dialed. */
const changeOf = (flags: UpdateFlags): ((spec: NetworkSpec) => NetworkSpec) => {
  const issues: Issue[] = [];
  const labels = readPairs("--label-add", flags.labelAdd, issues);
  const added = ipamConfigs("--subnet-add", flags.subnetAdd, flags, issues);
  refuseAll("The command", issues);
  if (added.length + flags.labelAdd.length + flags.labelRm.length === 0)
    throw refuse("invalid", "network", "there is nothing to change", "Use --subnet-add, --label-add or --label-rm");
  return (spec) => {
    const all = { ...spec.annotations?.labels, ...labels };
    for (const key of flags.labelRm) delete all[key];
    return {
      ...spec,
      annotations: { name: spec.annotations?.name ?? "", labels: all },
      ipam: [...spec.ipam, ...added],
    };
  };
};

export const networkUpdate: Verb = (noun, cli) =>
  noun
    .command("update")
    .description("Add subnets to a network, or change its labels, while it is in use")
    .argument("<network>", "name, id or unique beginning of an id")
    .option("--subnet-add <cidr>", "one more subnet; repeatable", collect, [])
    .option("--gateway <address>", "address of the gateway in an added subnet; repeatable", collect, [])
    .option("--ip-range <cidr>", "part of an added subnet that tasks get addresses from; repeatable", collect, [])
    .option("--aux-address <name=address>", "address of an added subnet that no task gets; repeatable", collect, [])
    .option("--label-add <key=value>", "add or change a label; repeatable", collect, [])
    .option("--label-rm <key>", "remove a label; repeatable", collect, [])
    .addHelpText("after", "\nExample:\n  tsctl network update --subnet-add 10.78.0.0/24 backend")
    .action(async (ref: string, flags: UpdateFlags) => {
      const change = changeOf(flags);
      const control = await cli.control();
      for (let attempt = 1; ; attempt++) {
        const { id, meta, spec } = (await control.getNetwork({ ref })).view!.network!;
        try {
          await control.updateNetwork({
            id,
            version: meta?.version ?? 0,
            spec: change(NetworkSpec.fromPartial(spec!)),
          });
          break;
        } catch (error) {
          if (!(error instanceof TswarmError && error.code === "stale_version") || attempt === ATTEMPTS) throw error;
        }
      }
      cli.out.write(`${ref}\n`);
    });
