import { blockOf, canonicalPrefix, hasHostBits, within } from "#net/ipam/prefix.ts";
import { contains, type Family, parseAddress } from "#net/model/cidr.ts";
import type { IpamConfig } from "#proto/gen/types.ts";
import type { Issues } from "./issues.ts";

const SPECIAL: readonly [string, string][] = [
  ["127.0.0.0/8", "loopback"],
  ["::1/128", "loopback"],
  ["224.0.0.0/4", "multicast"],
  ["ff00::/8", "multicast"],
  ["169.254.0.0/16", "link-local"],
  ["fe80::/10", "link-local"],
  ["0.0.0.0/8", "unspecified"],
];

const parses = (read: () => unknown): boolean => {
  try {
    read();
    return true;
  } catch {
    return false;
  }
};

const checkAddress = (issues: Issues, field: string, subnet: string, address: string): void => {
  if (
    !issues.check(
      parses(() => parseAddress(address)),
      field,
      `${address} is no address`,
      `Use an address of ${subnet}`,
    )
  )
    return;
  issues.check(contains(subnet, address), field, `${address} is outside ${subnet}`, `Use an address of ${subnet}`);
};

/** One subnet that the user asked for; returns its family when it could be read. */
export const checkIpam = (issues: Issues, path: string, config: IpamConfig): Family | undefined => {
  const { subnet, range, gateway, reserved } = config;
  const field = `${path}.subnet`;
  const readable = parses(() => blockOf(subnet));
  if (
    !issues.check(readable, field, `${JSON.stringify(subnet)} is no subnet`, "Write ADDRESS/LENGTH, as in 10.77.0.0/24")
  )
    return undefined;
  const block = blockOf(subnet);
  issues.check(!hasHostBits(subnet), field, `${subnet} has host bits set`, `Write ${canonicalPrefix(subnet)}`);
  const longest = block.family === 4 ? 29 : 125;
  issues.check(block.length <= longest, field, `${subnet} is too small`, `Use /${longest} or bigger`);
  const shortest = block.family === 4 ? 8 : 16;
  issues.check(block.length >= shortest, field, `${subnet} is too big`, `Use /${shortest} or smaller`);
  for (const [prefix, what] of SPECIAL)
    issues.check(
      !within(blockOf(prefix), block),
      field,
      `${subnet} is ${what}`,
      "Use a private subnet, as in 10.77.0.0/24",
    );
  if (range !== "") {
    const ok = parses(() => blockOf(range));
    if (issues.check(ok, `${path}.range`, `${JSON.stringify(range)} is no subnet`, `Use a part of ${subnet}`))
      issues.check(
        within(block, blockOf(range)),
        `${path}.range`,
        `${range} is outside ${subnet}`,
        `Use a part of ${subnet}`,
      );
  }
  if (gateway !== "") checkAddress(issues, `${path}.gateway`, subnet, gateway);
  for (const [name, address] of Object.entries(reserved))
    checkAddress(issues, `${path}.reserved.${name}`, subnet, address);
  return block.family;
};
