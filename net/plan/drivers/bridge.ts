// A bridge in the host's namespace, with the gateway's address on it. In mode nat packets leave the host with its address; in
// mode routed they leave as they are, and the network around knows the way to the subnet.

import { familyOf, splitPrefix } from "#net/model/cidr.ts";
import { type BridgeOptions, bridgeOptions } from "#net/model/driver-options.ts";
import { bridgeName, mark } from "#net/model/ifname.ts";
import { deriveMac } from "#net/model/mac.ts";
import type { PlanNetwork } from "#net/plan/drivers/driver.ts";
import { wantVeth } from "#net/plan/drivers/veth.ts";
import { wantForwarding } from "#net/plan/forwarding.ts";
import { targetNamespace, wantAddress, wantLink } from "#net/plan/target.ts";

const ETHERNET_MTU_BYTES = 1500;

export const planBridge: PlanNetwork = ({ network, attachments, isPublished }, target) => {
  const host = targetNamespace(target, "");
  const options = bridgeOptions(network.options);
  const name = options.name || bridgeName(network.id, network.name);
  const mtuBytes = options.mtuBytes || ETHERNET_MTU_BYTES;
  const mac = deriveMac(network.id);
  wantLink(host, { name, kind: "bridge", mac, mtuBytes, master: "", isolated: false, alias: mark(network.id) });
  for (const { subnet, gateway } of network.subnets)
    wantAddress(host, name, `${gateway}/${splitPrefix(subnet).length}`);
  for (const local of attachments) {
    const { ipv4, ipv6 } = local.attachment;
    const hairpin = [ipv4, ipv6].some((address) => isPublished(address.split("/")[0]!));
    wantVeth(target, local, { ns: "", bridge: name, mtuBytes, isolated: !options.icc, hairpin });
  }
  const prefixes = network.subnets.map(({ subnet }) => subnet);
  if (!network.internal) wantForwarding(host, prefixes);
  return {
    link: name,
    prefixes: prefixes.map((prefix) => ({
      prefix,
      masquerade: options.masquerade && !isRouted(options, prefix),
      routed: isRouted(options, prefix),
    })),
    internal: network.internal,
  };
};

const isRouted = (options: BridgeOptions, prefix: string): boolean =>
  (familyOf(splitPrefix(prefix).address) === 4 ? options.gatewayModeIpv4 : options.gatewayModeIpv6) === "routed";
