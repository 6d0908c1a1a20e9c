import { insideOf } from "#net/ipam/addresses.ts";
import { blockOf, canonicalPrefix, hasHostBits, within } from "#net/ipam/prefix.ts";
import { canonicalAddress, type Family, parseAddress } from "#net/model/cidr.ts";
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

/** Returns the address in canonical form when it is one that a host may have. */
const checkAddress = (issues: Issues, field: string, subnet: string, address: string): string | undefined => {
  if (
    !issues.check(
      parses(() => parseAddress(address)),
      field,
      `${address} is no address`,
      `Use an address of ${subnet}`,
    )
  )
    return undefined;
  const remedy = `Use an address of ${subnet}`;
  const inside = issues.check(
    insideOf({ subnet, range: "" })(address),
    field,
    `${address} is outside ${subnet}, or none that a host can have`,
    remedy,
  );
  return inside ? canonicalAddress(address) : undefined;
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
  const owners = new Map<string, string>();
  const note = (at: string, address: string, owner: string): void => {
    const canonical = checkAddress(issues, at, subnet, address);
    if (canonical === undefined) return;
    const other = owners.get(canonical);
    issues.check(other === undefined, at, `${address} is ${other}`, "Use another address");
    owners.set(canonical, owner);
  };
  if (gateway !== "") note(`${path}.gateway`, gateway, "the gateway");
  for (const [name, address] of Object.entries(reserved))
    note(`${path}.reserved.${name}`, address, `reserved as ${name} already`);
  return block.family;
};
