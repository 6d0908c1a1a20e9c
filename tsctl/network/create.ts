import type { Verb } from "#tsctl/cli.ts";
import { type NetworkFlags, networkSpec } from "#tsctl/network/spec.ts";
import { collect } from "#tsctl/output/list.ts";

const EXAMPLES = `
Examples:
  tsctl network create --subnet 10.77.0.0/24 backend
  tsctl network create --ipv6 --opt mtu=1400 backend
  tsctl network create -d bridge --opt icc=false --internal lab
  tsctl network create -d macvlan --subnet 192.0.2.0/24 --ip-range 192.0.2.128/26 \\
    --opt parent=eth0 --opt parent@alpha=eth1.50 lan

Options of the drivers (--opt) are in docs/reference/networks.md; an unknown one is refused with the known ones.`;

export const networkCreate: Verb = (noun, cli) =>
  noun
    .command("create")
    .description("Create a network")
    .argument("<name>")
    .option("-d, --driver <driver>", "overlay (default, spans the nodes), bridge, macvlan or ipvlan (on each node)")
    .option(
      "--subnet <cidr>",
      'like "10.77.0.0/24"; several of each family; default: one from the cluster\'s pools; repeatable',
      collect,
      [],
    )
    .option("--gateway <address>", "address of the gateway in a subnet; repeatable", collect, [])
    .option("--ip-range <cidr>", "part of a subnet that tasks get addresses from; repeatable", collect, [])
    .option("--aux-address <name=address>", "address that no task gets; repeatable", collect, [])
    .option("--ipv6", "give IPv6 addresses too")
    .option("--ipv4", "give IPv4 addresses (default)")
    .option("--no-ipv4", "no IPv4 addresses")
    .option("--internal", "no way out to other networks")
    .option("--attachable", "containers of their own (tsctl run) may attach")
    .option("--ingress", "the network of published ports; one in a cluster")
    .option("--scope <scope>", "swarm: networks belong to the cluster")
    .option("--config-only", "a template for other networks")
    .option("--config-from <network>", "take options, subnets and families from this template")
    .option("-o, --opt <key=value>", "option of the driver; repeatable", collect, [])
    .option("--label <key=value>", "repeatable", collect, [])
    .option("--ipam-driver <driver>", "default: addresses are given out by the managers")
    .option("--ipam-opt <key=value>", "there are none", collect, [])
    .addHelpText("after", EXAMPLES)
    .action(async (name: string, flags: NetworkFlags) => {
      const spec = networkSpec(name, flags);
      const { network } = await (await cli.control()).createNetwork({ spec });
      cli.out.write(`${network!.id}\n`);
    });
