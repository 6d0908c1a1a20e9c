// A task's place on a network, made of its addresses.
import type { ReadTx } from "#control-plane/state/types.ts";
import { withLength } from "#net/ipam/addresses.ts";
import { contains } from "#net/model/cidr.ts";
import { deriveMac } from "#net/model/mac.ts";
import type { Network, NetworkAttachment, NetworkAttachmentConfig } from "#proto/gen/types.ts";
import type { Pair } from "./addresses.ts";

/** 02:42 and the IPv4 address, as Docker; without IPv4 from the task's id. */
const macOf = (ipv4: string, seed: string): string => {
  if (ipv4 === "") return deriveMac(seed);
  const bytes = ipv4.split(".").map((part) => Number(part).toString(16).padStart(2, "0"));
  return `02:42:${bytes.join(":")}`;
};

const prefixOf = (network: Network, address: string): string => {
  if (address === "") return "";
  const { subnet } = network.subnets.find((s) => contains(s.subnet, address))!;
  return withLength(address, subnet);
};

/** Its interface may still lack a name (`nameInterfaces`). */
export const attach = (
  network: Network,
  pair: Pair,
  taskId: string,
  config: NetworkAttachmentConfig,
): NetworkAttachment => {
  // Interfaces of ipvlan have the MAC of their parent.
  const hasMac = network.spec?.driver !== "ipvlan" && (pair.ipv4 !== "" || pair.ipv6 !== "");
  return {
    networkId: network.id,
    ipv4: prefixOf(network, pair.ipv4),
    ipv6: prefixOf(network, pair.ipv6),
    mac: hasMac ? config.mac || macOf(pair.ipv4, `${taskId} ${network.id}`) : "",
    aliases: config.aliases,
    interfaceName: config.interfaceName,
    gatewayPriority: config.gatewayPriority,
    sysctls: config.sysctls,
  };
};

const hasInterface = (tx: ReadTx, { networkId }: NetworkAttachment): boolean => {
  const driver = tx.get("network", networkId)?.spec?.driver;
  return driver !== "host" && driver !== "none";
};

/**
 * The attachments, each with the name of its interface: its own, or the first of eth0, eth1, … that is free. Agents name
 * what has none in the same way, but a name that is stored stays when other attachments come and go.
 */
export const nameInterfaces = (tx: ReadTx, attachments: readonly NetworkAttachment[]): NetworkAttachment[] => {
  const taken = new Set(attachments.map((attachment) => attachment.interfaceName));
  return attachments.map((attachment) => {
    if (attachment.interfaceName !== "" || !hasInterface(tx, attachment)) return attachment;
    let n = 0;
    while (taken.has(`eth${n}`)) n++;
    taken.add(`eth${n}`);
    return { ...attachment, interfaceName: `eth${n}` };
  });
};
