// --subnet with --gateway, --ip-range and --aux-address, which go to the subnet that they are in.
import type { Issue } from "#base/errors.ts";
import { subnetOf } from "#control-plane/specs/subnet-of.ts";
import { splitPair } from "#control-plane/stack/quantities.ts";
import type { IpamConfig } from "#proto/gen/types.ts";

export type IpamFlags = {
  readonly gateway: readonly string[];
  readonly ipRange: readonly string[];
  readonly auxAddress: readonly string[];
};

/** `flag`: how the subnets are written. What is wrong with an address itself is said by the server. */
export const ipamConfigs = (
  flag: string,
  subnets: readonly string[],
  flags: IpamFlags,
  issues: Issue[],
): IpamConfig[] => {
  const configs: IpamConfig[] = subnets.map((subnet) => ({ subnet, range: "", gateway: "", reserved: {} }));
  for (const subnet of subnets)
    if (!/^[0-9a-fA-F.:]+\/\d{1,3}$/.test(subnet))
      issues.push({ field: flag, reason: `"${subnet}" is not a subnet`, remedy: 'Write it like "10.77.0.0/24"' });
  const place = (of: string, written: string, address: string): IpamConfig | undefined => {
    const at = subnetOf(subnets, address);
    if (at >= 0) return configs[at];
    const family = address.includes(":") ? "IPv6" : "IPv4";
    issues.push({
      field: of,
      reason:
        at === -1 ? `"${written}" has no subnet of its family` : `"${written}" is in none of the ${family} subnets`,
      remedy: at === -1 ? `Give the ${family} subnet with ${flag}` : `Use one that is in ${subnets.join(" or ")}`,
    });
    return undefined;
  };
  const once = (of: string, key: "gateway" | "range", written: string): void => {
    const config = place(of, written, written);
    if (config === undefined) return;
    if (config[key] !== "")
      issues.push({ field: of, reason: `${config.subnet} has two`, remedy: "Give one for each subnet" });
    config[key] = written;
  };
  for (const gateway of flags.gateway) once("--gateway", "gateway", gateway);
  for (const range of flags.ipRange) once("--ip-range", "range", range);
  for (const item of flags.auxAddress) {
    const [name, address] = splitPair(item);
    if (name === "" || address === "") {
      const remedy = 'Write it like "router=10.0.0.5"';
      issues.push({ field: "--aux-address", reason: `"${item}" is not name=address`, remedy });
      continue;
    }
    const config = place("--aux-address", item, address);
    if (config) config.reserved[name] = address;
  }
  return configs;
};
