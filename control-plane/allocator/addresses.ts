// One address of each family on one network, as a function of the state: what is held is what live objects say.

import type { ReadTx } from "#control-plane/state/types.ts";
import { capacity, nextFree } from "#net/ipam/addresses.ts";
import { familyOf, parseAddress, splitPrefix } from "#net/model/cidr.ts";
import type { Network, Subnet, Task } from "#proto/gen/types.ts";

export type Pair = { readonly ipv4: string; readonly ipv6: string };
/** Where the last address was taken, by subnet, so that one pass looks it up once. */
export type Cursors = Map<string, string>;

const newestFirst = (a: Task, b: Task): number => (b.meta?.createdAt ?? 0) - (a.meta?.createdAt ?? 0);

/** The address that was given last: that of the newest task, ended ones included; of equally new ones the highest. */
const lastGiven = (tx: ReadTx, network: Network, v6: boolean): string => {
  const address = (task: Task): string => {
    const a = task.attachments.find((x) => x.networkId === network.id);
    return (v6 ? a?.ipv6 : a?.ipv4)?.split("/")[0] ?? "";
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

/** Free addresses of each family of the network; undefined for a subnet that is full is told by `full`. */
export const freeAddresses = (
  tx: ReadTx,
  network: Network,
  cursors: Cursors,
): { readonly pair: Pair } | { readonly full: Subnet } => {
  const held = tx.heldAddresses(network.id);
  const found = { ipv4: "", ipv6: "" };
  for (const subnet of network.subnets) {
    const family = familyOf(splitPrefix(subnet.subnet).address);
    const key = `${network.id} ${subnet.subnet}`;
    const last = cursors.get(key) ?? lastGiven(tx, network, family === 6);
    const address = nextFree(subnet, held, last);
    if (address === undefined) return { full: subnet };
    cursors.set(key, address);
    if (family === 4) found.ipv4 = address;
    else found.ipv6 = address;
  }
  return { pair: found };
};

export type Usage = { readonly subnet: string; readonly used: number; readonly size: number; readonly resting: number };

/** How full a subnet is. `used` counts resting, reserved and gateway addresses too. */
export const subnetUsage = (tx: ReadTx, network: Network, subnet: Subnet): Usage => {
  const family = familyOf(splitPrefix(subnet.subnet).address);
  let used = 0;
  let resting = 0;
  for (const address of tx.heldAddresses(network.id)) {
    if (familyOf(address) !== family) continue;
    used++;
    if (tx.addressHolder(network.id, address)?.startsWith("lease/")) resting++;
  }
  return { subnet: subnet.subnet, used, size: capacity({ subnet: subnet.subnet, range: "" }), resting };
};

/** Why there is no address, with what to do. */
export const fullText = (tx: ReadTx, network: Network, subnet: Subnet): { reason: string; remedy: string } => {
  const { used, size, resting } = subnetUsage(tx, network, subnet);
  const range = subnet.range === "" ? "" : ` (range ${subnet.range})`;
  const rest = resting === 0 ? "" : `, ${resting} of them rest for a few seconds after their release`;
  return {
    reason: `network ${network.spec?.annotations?.name}: no address is free in ${subnet.subnet}${range}: ${used} of ${size} are used${rest}`,
    remedy:
      "Scale services down, or make a network with a bigger subnet (tsctl network create --subnet) and move services to it",
  };
};
