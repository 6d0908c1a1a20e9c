// How a service's tasks are attached to their networks: addresses, MAC, name of the interface, way out, settings.
import { canonicalAddress, type Family, familyOf, parseAddress } from "#net/model/cidr.ts";
import { type NetworkAttachmentConfig, type ServiceSpec, UpdateOrder } from "#proto/gen/types.ts";
import type { Issues } from "./issues.ts";

const ALIAS = /^[a-zA-Z0-9]([a-zA-Z0-9_.-]{0,61}[a-zA-Z0-9])?$/;
/** IFNAMSIZ of linux/if.h with its end; the rest as net/core/dev.c dev_valid_name, without what needs quotes. */
const INTERFACE = /^(?!\.{1,2}$)[a-zA-Z0-9_.-]{1,15}$/;
const MAC = /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/;
const SYSCTL = /^net[./](ipv4|ipv6|mpls)[./](conf|neigh)[./]IFNAME[./][a-z0-9_]+$/;
const INT32 = 2 ** 31;

const readAddress = (text: string): string | undefined => {
  try {
    parseAddress(text);
    return canonicalAddress(text);
  } catch {
    return undefined;
  }
};

/** Addresses and MACs in one spelling. */
export const attachmentDefaults = (config: NetworkAttachmentConfig): NetworkAttachmentConfig => ({
  ...config,
  ipv4: config.ipv4.map((address) => readAddress(address) ?? address),
  ipv6: config.ipv6.map((address) => readAddress(address) ?? address),
  mac: config.mac.toLowerCase().replaceAll("-", ":"),
});

const checkAddresses = (issues: Issues, at: string, list: readonly string[], family: Family): void => {
  const seen = new Set<string>();
  for (const address of list) {
    issues.check(
      readAddress(address) !== undefined && familyOf(address) === family,
      at,
      `${JSON.stringify(address)} is no IPv${family} address`,
      "Use an address of the network's subnet, without length",
    );
    issues.check(!seen.has(address), at, `${address} is named twice`, "Name an address for each slot");
    seen.add(address);
  }
};

/** One task can have the address or MAC, not the one that leaves and the one that comes at the same time. */
const checkPinned = (issues: Issues, at: string, config: NetworkAttachmentConfig, spec: ServiceSpec): void => {
  const startFirst = [spec.update, spec.rollback].some((c) => c?.order === UpdateOrder.START_FIRST);
  for (const family of ["ipv4", "ipv6"] as const) {
    const pinned = config[family].length;
    if (pinned === 0) continue;
    issues.check(
      pinned >= spec.replicas,
      `${at}.${family}`,
      `${pinned} ${pinned === 1 ? "address is" : "addresses are"} pinned for ${spec.replicas} replicas`,
      "Pin an address for each slot, or none",
    );
  }
  const hasPinned = config.ipv4.length + config.ipv6.length > 0;
  if (hasPinned || config.mac !== "")
    issues.check(
      !startFirst,
      "update.order",
      `the new task of a slot can't start first: the ${hasPinned ? "address" : "MAC"} is still its predecessor's`,
      "Use stop-first for update and rollback, or pin nothing",
    );
};

const checkMac = (issues: Issues, at: string, mac: string, replicas: number): void => {
  if (mac === "") return;
  const valid = MAC.test(mac) && mac !== "00:00:00:00:00:00" && (Number.parseInt(mac.slice(0, 2), 16) & 1) === 0;
  issues.check(valid, at, `${JSON.stringify(mac)} is no MAC of one interface`, "Use one as 02:42:0a:00:00:05");
  issues.check(replicas <= 1, at, `${replicas} replicas can't have the same MAC`, "Use one replica, or leave it out");
};

const checkAttachment = (issues: Issues, at: string, config: NetworkAttachmentConfig, spec: ServiceSpec): void => {
  issues.check(config.target !== "", `${at}.target`, "it is empty", "Name a network");
  for (const alias of config.aliases)
    issues.check(
      ALIAS.test(alias),
      `${at}.aliases`,
      `${JSON.stringify(alias)} is no DNS name`,
      "Use letters, digits, - and _",
    );
  checkAddresses(issues, `${at}.ipv4`, config.ipv4, 4);
  checkAddresses(issues, `${at}.ipv6`, config.ipv6, 6);
  checkPinned(issues, at, config, spec);
  checkMac(issues, `${at}.mac`, config.mac, spec.replicas);
  const { interfaceName, gatewayPriority } = config;
  if (interfaceName !== "")
    issues.check(
      INTERFACE.test(interfaceName) && interfaceName !== "lo",
      `${at}.interfaceName`,
      `${JSON.stringify(interfaceName)} is no name for it`,
      "Use up to 15 letters, digits, - and _, not lo",
    );
  issues.check(
    Number.isInteger(gatewayPriority) && gatewayPriority >= -INT32 && gatewayPriority < INT32,
    `${at}.gatewayPriority`,
    `${gatewayPriority} is no priority`,
    "Use a whole number of 32 bits",
  );
  for (const key of Object.keys(config.sysctls))
    issues.check(
      SYSCTL.test(key),
      `${at}.sysctls`,
      `${JSON.stringify(key)} is no setting of an interface`,
      "Write it as net.ipv4.conf.IFNAME.log_martians; other settings belong to the container's sysctls",
    );
};

/** Attachments with defaults (`attachmentDefaults`). Whether an address is in the network's subnet is judged with the state. */
export const checkAttachments = (issues: Issues, spec: ServiceSpec): void => {
  const names = new Set<string>();
  for (const [i, config] of (spec.task?.networks ?? []).entries()) {
    const at = `task.networks[${i}]`;
    checkAttachment(issues, at, config, spec);
    const { interfaceName } = config;
    issues.check(
      interfaceName === "" || !names.has(interfaceName),
      `${at}.interfaceName`,
      `two interfaces are called ${interfaceName}`,
      "Use two names",
    );
    names.add(interfaceName);
  }
};
