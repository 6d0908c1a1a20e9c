// One address of each family on one network, as a function of the state: what is held is what live objects say.

import type { ReadTx } from "#control-plane/state/types.ts";
import { capacity, insideOf, nextFree } from "#net/ipam/addresses.ts";
import { type Family, familyOf, parseAddress } from "#net/model/cidr.ts";
import type { Network, Subnet, Task } from "#proto/gen/types.ts";
import { pinnedAddresses } from "./pins.ts";

export type Pair = { readonly ipv4: string; readonly ipv6: string };
/** What one pass looks up only once, during which no address is released. */
export type Lookups = {
  /** Where the last address was taken, by subnet. */
  readonly last: Map<string, string>;
  /** Subnets that were searched through in vain. */
  readonly full: Set<string>;
  /** Why tasks have to wait, by network and family. */
  readonly texts: Map<string, string>;
  /** By network. */
  readonly pinned: Map<string, ReadonlySet<string>>;
};
export const newLookups = (): Lookups => ({ last: new Map(), full: new Set(), texts: new Map(), pinned: new Map() });

const newestFirst = (a: Task, b: Task): number => (b.meta?.createdAt ?? 0) - (a.meta?.createdAt ?? 0);

export const subnetsOf = (network: Network, family: Family): Subnet[] =>
  network.subnets.filter((s) => familyOf(s.subnet) === family);

/** The address that was given last: that of the newest task, ended ones included; of equally new ones the highest. */
const lastGiven = (tx: ReadTx, network: Network, subnet: Subnet): string => {
  const family = familyOf(subnet.subnet);
  const alone = subnetsOf(network, family).length === 1;
  const isInside = insideOf(subnet);
  const address = (task: Task): string => {
    const a = task.attachments.find((x) => x.networkId === network.id);
    const text = (family === 6 ? a?.ipv6 : a?.ipv4)?.split("/")[0] ?? "";
    return text === "" || alone || isInside(text) ? text : "";
  };
  let newest: Task | undefined;
  for (const task of tx.tasksOfNetwork(network.id)) {
    const text = address(task);
    if (text === "") continue;
    const order = newest === undefined ? -1 : newestFirst(task, newest);
    if (order < 0 || (order === 0 && parseAddress(text) > parseAddress(address(newest!)))) newest = task;
  }
  return newest === undefined ? "" : address(newest);
};

/** Two sets of addresses as one; nothing is copied. */
const both = (
  a: ReadonlySet<string>,
  b: ReadonlySet<string>,
): { has(address: string): boolean; readonly size: number } => ({
  has: (address) => a.has(address) || b.has(address),
  // Counted only when it is asked for: it costs as much as the transaction has changed.
  get size() {
    return a.size + b.size;
  },
});

/**
 * A free address of one family: from the network's first subnet that has one. "" when the network has no such family,
 * undefined when all its subnets are full. Those that are pinned for slots of services are not free.
 */
export const freeAddress = (tx: ReadTx, network: Network, family: Family, lookups: Lookups): string | undefined => {
  const subnets = subnetsOf(network, family);
  if (subnets.length === 0) return "";
  const pinned = lookups.pinned.get(network.id) ?? pinnedAddresses(tx, network.id, []);
  lookups.pinned.set(network.id, pinned);
  const held = both(tx.heldAddresses(network.id), pinned);
  for (const subnet of subnets) {
    const key = `${network.id} ${subnet.subnet}`;
    if (lookups.full.has(key)) continue;
    const last = lookups.last.get(key) ?? lastGiven(tx, network, subnet);
    const address = nextFree(subnet, held, last);
    if (address === undefined) {
      lookups.full.add(key);
      continue;
    }
    lookups.last.set(key, address);
    return address;
  }
  return undefined;
};

/**
 * Addresses of each family of the network: the pinned ones, which are not questioned here, and free ones for the rest; or the
 * family whose subnets are full.
 */
export const addressPair = (
  tx: ReadTx,
  network: Network,
  lookups: Lookups,
  pin: Pair = { ipv4: "", ipv6: "" },
): { readonly pair: Pair } | { readonly full: Family } => {
  const ipv4 = pin.ipv4 || freeAddress(tx, network, 4, lookups);
  if (ipv4 === undefined) return { full: 4 };
  const ipv6 = pin.ipv6 || freeAddress(tx, network, 6, lookups);
  return ipv6 === undefined ? { full: 6 } : { pair: { ipv4, ipv6 } };
};

export type Usage = { readonly subnet: string; readonly used: number; readonly size: number; readonly resting: number };

/**
 * How full a subnet is, or its range when it has one: that is where addresses are taken from. `used` counts gateway, reserved
 * and pinned addresses too, `resting` those that rest after their release; the others are free.
 */
export const subnetUsage = (tx: ReadTx, network: Network, subnet: Subnet): Usage => {
  const holders = new Set(pinnedAddresses(tx, network.id, []));
  for (const address of tx.heldAddresses(network.id)) holders.add(address);
  const isInside = insideOf(subnet);
  let used = 0;
  let resting = 0;
  for (const address of holders) {
    if (!isInside(address)) continue;
    if (tx.addressHolder(network.id, address)?.startsWith("lease/")) resting++;
    else used++;
  }
  return { subnet: subnet.subnet, used, size: capacity(subnet), resting };
};

/** Why there is no address, with what to do. It stays the same from pass to pass: it is written to every task that waits. */
export const fullText = (tx: ReadTx, network: Network, family: Family): { reason: string; remedy: string } => {
  const name = network.spec?.annotations?.name ?? network.id;
  const parts = subnetsOf(network, family).map((subnet) => {
    const { used, size, resting } = subnetUsage(tx, network, subnet);
    const range = subnet.range === "" ? "" : ` (range ${subnet.range})`;
    const rest = resting === 0 ? "" : ", some of them until a few seconds after their release";
    return `${subnet.subnet}${range}: ${used + resting} of ${size} are used${rest}`;
  });
  return {
    reason: `network ${name}: no IPv${family} address is free in ${parts.join("; ")}`,
    remedy: `Add a subnet (tsctl network update --subnet-add SUBNET ${name}), or scale services down`,
  };
};

/** The same as one text, counted once in a pass. */
export const waitText = (tx: ReadTx, network: Network, family: Family, { texts }: Lookups): string => {
  const key = `${network.id} ${family}`;
  const known = texts.get(key);
  if (known !== undefined) return known;
  const { reason, remedy } = fullText(tx, network, family);
  const text = `${reason}. ${remedy}.`;
  texts.set(key, text);
  return text;
};
