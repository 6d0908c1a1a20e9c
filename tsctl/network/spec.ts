// Flags of `network create` to a spec, without a server.
import { type Issue, refuseAll } from "#base/errors.ts";
import { splitPair } from "#control-plane/stack/quantities.ts";
import { type IpamConfig, NetworkSpec } from "#proto/gen/types.ts";
import { readPairs } from "#tsctl/flags/pairs.ts";

export type NetworkFlags = {
  readonly driver?: string;
  readonly subnet: readonly string[];
  readonly gateway: readonly string[];
  readonly ipRange: readonly string[];
  readonly auxAddress: readonly string[];
  readonly opt: readonly string[];
  readonly label: readonly string[];
  readonly ipv4: boolean;
  readonly ipv6?: boolean;
  readonly internal?: boolean;
  readonly attachable?: boolean;
};

const isV6 = (written: string): boolean => written.includes(":");

/** Gateways, ranges and reserved addresses go to the subnet of their family: there is at most one of each. */
const ipamOf = (flags: NetworkFlags, issues: Issue[]): IpamConfig[] => {
  const configs: IpamConfig[] = flags.subnet.map((subnet) => ({ subnet, range: "", gateway: "", reserved: {} }));
  const of = (flag: string, written: string, address: string): IpamConfig | undefined => {
    const found = configs.find((c) => isV6(c.subnet) === isV6(address));
    if (!found)
      issues.push({
        field: flag,
        reason: `"${written}" has no subnet of its family`,
        remedy: `Give the ${isV6(address) ? "IPv6" : "IPv4"} subnet with --subnet`,
      });
    return found;
  };
  for (const gateway of flags.gateway) {
    const config = of("--gateway", gateway, gateway);
    if (config) config.gateway = gateway;
  }
  for (const range of flags.ipRange) {
    const config = of("--ip-range", range, range);
    if (config) config.range = range;
  }
  for (const item of flags.auxAddress) {
    const [name, address] = splitPair(item);
    if (name === "" || address === "")
      issues.push({
        field: "--aux-address",
        reason: `"${item}" is not name=address`,
        remedy: 'Write it like "router=10.0.0.5"',
      });
    else {
      const config = of("--aux-address", item, address);
      if (config) config.reserved[name] = address;
    }
  }
  return configs;
};

/** Throws `invalid` naming every wrong flag. Addresses themselves are judged by the server. */
export const networkSpec = (name: string, flags: NetworkFlags): NetworkSpec => {
  const issues: Issue[] = [];
  for (const subnet of flags.subnet)
    if (!/^[0-9a-fA-F.:]+\/\d{1,3}$/.test(subnet))
      issues.push({ field: "--subnet", reason: `"${subnet}" is not a subnet`, remedy: 'Write it like "10.77.0.0/24"' });
  const spec = NetworkSpec.fromPartial({
    annotations: { name, labels: readPairs("--label", flags.label, issues) },
    // Empty: the server chooses.
    driver: flags.driver ?? "",
    options: readPairs("--opt", flags.opt, issues),
    internal: flags.internal ?? false,
    attachable: flags.attachable ?? false,
    ipv4: flags.ipv4,
    ipv6: flags.ipv6 ?? flags.subnet.some(isV6),
    ipam: ipamOf(flags, issues),
  });
  refuseAll("The command", issues);
  return spec;
};
