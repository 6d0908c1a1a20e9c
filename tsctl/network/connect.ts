import { type Issue, refuseAll } from "#base/errors.ts";
import { OPTION_REMEDY, setEndpointOption } from "#control-plane/specs/attachment-text.ts";
import { splitPair } from "#control-plane/stack/quantities.ts";
import { NetworkAttachmentConfig } from "#proto/gen/types.ts";
import type { Verb } from "#tsctl/cli.ts";
import { collect } from "#tsctl/output/list.ts";

type Flags = {
  readonly ip?: string;
  readonly ip6?: string;
  readonly alias: readonly string[];
  readonly macAddress?: string;
  readonly interface?: string;
  readonly gwPriority?: string;
  readonly driverOpt: readonly string[];
};

const attachment = (flags: Flags): NetworkAttachmentConfig => {
  const issues: Issue[] = [];
  const config = NetworkAttachmentConfig.fromPartial({
    ipv4: flags.ip === undefined ? [] : [flags.ip],
    ipv6: flags.ip6 === undefined ? [] : [flags.ip6],
    aliases: [...flags.alias],
    mac: flags.macAddress ?? "",
    interfaceName: flags.interface ?? "",
  });
  const priority = flags.gwPriority ?? "0";
  if (/^[+-]?\d+$/.test(priority)) config.gatewayPriority = Number(priority);
  else
    issues.push({
      field: "--gw-priority",
      reason: `"${priority}" is not a whole number`,
      remedy: "Write one; the highest has the default route",
    });
  for (const written of flags.driverOpt) {
    const [key, value] = splitPair(written);
    if (!setEndpointOption(config, key, value))
      issues.push({ field: "--driver-opt", reason: `there is no option ${key}`, remedy: OPTION_REMEDY });
  }
  refuseAll("The command", issues);
  return config;
};

export const networkConnect: Verb = (noun, cli) =>
  noun
    .command("connect")
    .description("Give a running container or task an interface on one more network")
    .argument("<network>", "name, id or unique beginning of an id")
    .argument("<container>", 'name of a container, "web.1", or a task\'s id or the unique beginning of it')
    .option("--ip <address>", "IPv4 address")
    .option("--ip6 <address>", "IPv6 address")
    .option("--alias <name>", "further name on this network; repeatable", collect, [])
    .option("--mac-address <mac>", "MAC of the interface")
    .option("--interface <name>", "name of the interface (the first of eth0, eth1, … that is free)")
    .option("--gw-priority <n>", "the network with the highest has the default route (0)")
    .option("--driver-opt <key=value>", "option of the connection; repeatable", collect, [])
    .action(async (network: string, task: string, flags: Flags) => {
      const config = attachment(flags);
      await (await cli.control()).connectNetwork({ network, task, config });
    });
