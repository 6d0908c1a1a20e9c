import type { Verb } from "#tsctl/cli.ts";
import { type NetworkFlags, networkSpec } from "#tsctl/network/spec.ts";
import { collect } from "#tsctl/output/list.ts";

export const networkCreate: Verb = (noun, cli) =>
  noun
    .command("create")
    .description("Create a network")
    .argument("<name>")
    .option("-d, --driver <driver>", "overlay (default, spans the nodes) or bridge (on each node for itself)")
    .option(
      "--subnet <cidr>",
      'like "10.77.0.0/24"; one of each family; default: from the cluster\'s pools',
      collect,
      [],
    )
    .option("--gateway <address>", "address of the gateway in a subnet; repeatable", collect, [])
    .option("--ip-range <cidr>", "part of the subnet that tasks get addresses from; repeatable", collect, [])
    .option("--aux-address <name=address>", "address that no task gets; repeatable", collect, [])
    .option("--ipv6", "give IPv6 addresses too")
    .option("--no-ipv4", "no IPv4 addresses")
    .option("--internal", "no way out to other networks")
    .option("--attachable", "standalone containers may attach")
    .option("-o, --opt <key=value>", "option of the driver; repeatable", collect, [])
    .option("--label <key=value>", "repeatable", collect, [])
    .addHelpText("after", "\nExample:\n  tsctl network create --driver overlay --subnet 10.77.0.0/24 backend")
    .action(async (name: string, flags: NetworkFlags) => {
      const spec = networkSpec(name, flags);
      const { network } = await (await cli.control()).createNetwork({ spec });
      cli.out.write(`${network!.id}\n`);
    });
