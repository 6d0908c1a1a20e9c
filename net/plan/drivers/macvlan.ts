// macvlan and ipvlan: each container has a link of its own on top of an interface of the host, and is a neighbour of whatever
// is beyond it. The gateway is a router out there; ipvlan in the modes l3 and l3s has none, the parent routes.
// A parent "eth0.50" is the VLAN 50 of eth0; it is made when the host has no such link, and then it is ours to remove.

import { splitPrefix } from "#net/model/cidr.ts";
import { ipvlanOptions, macvlanOptions, vlanOf } from "#net/model/driver-options.ts";
import type { HostNetwork } from "#net/model/host-networks.ts";
import { MAIN_TABLE } from "#net/model/host-state.ts";
import { mark, shimName } from "#net/model/ifname.ts";
import { deriveMac } from "#net/model/mac.ts";
import type { NetworkOnHost, PlanNetwork } from "#net/plan/drivers/driver.ts";
import { type Target, targetNamespace, wantAddress, wantLink, wantRoute } from "#net/plan/target.ts";

type Kind = { readonly kind: "macvlan" | "ipvlan"; readonly mode: string; readonly mtuBytes: number };

const kindOf = ({ driver, options }: HostNetwork): Kind => {
  if (driver === "macvlan") {
    const { mode, mtuBytes } = macvlanOptions(options);
    return { kind: "macvlan", mode, mtuBytes };
  }
  const { mode, flag, mtuBytes } = ipvlanOptions(options);
  return { kind: "ipvlan", mode: flag === "bridge" ? mode : `${mode} ${flag}`, mtuBytes };
};

export const planMacvlan: PlanNetwork = (on, target) => {
  const { network, attachments, mtuOfLink } = on;
  const { kind, mode, mtuBytes: asked } = kindOf(network);
  const lower = network.parent;
  const vlan = vlanOf(lower);
  const parentMtuBytes = mtuOfLink(lower) ?? mtuOfLink(vlan?.parent ?? "") ?? 1500;
  const mtuBytes = asked || parentMtuBytes;
  const alias = mark(network.id);
  if (vlan !== undefined)
    wantLink(targetNamespace(target, ""), {
      name: lower,
      kind: "vlan",
      mac: "",
      mtuBytes: parentMtuBytes,
      master: "",
      isolated: false,
      alias: mark("vlan"),
      shared: true,
      upper: { lower: vlan.parent, mode: String(vlan.id) },
    });
  for (const { container, attachment } of attachments) {
    const { ifname, ipv4, ipv6 } = attachment;
    const ns = targetNamespace(target, container.netns);
    // All ipvlans of a parent have its MAC.
    const mac = kind === "macvlan" && mode !== "passthru" ? attachment.mac : "";
    const upper = { lower, mode };
    wantLink(ns, { name: ifname, kind, mac, mtuBytes, master: "", isolated: false, alias, upper });
    wantAddress(ns, ifname, ipv4);
    wantAddress(ns, ifname, ipv6);
  }
  if (kind === "macvlan" && macvlanOptions(network.options).hostAccess) wantHostAccess(target, on, mtuBytes);
  return undefined;
};

/**
 * The kernel passes nothing between a parent and the macvlans on top of it. A macvlan of the host's own is their neighbour;
 * it needs no address, for the host answers for all of its IPv4 addresses on every link. IPv6 has no such custom.
 */
const wantHostAccess = (target: Target, { network, attachments }: NetworkOnHost, mtuBytes: number): void => {
  const host = targetNamespace(target, "");
  const name = shimName(network.id);
  wantLink(host, {
    name,
    kind: "macvlan",
    mac: deriveMac(`shim ${network.id}`),
    mtuBytes,
    master: "",
    isolated: false,
    alias: mark(network.id),
    upper: { lower: network.parent, mode: "bridge" },
  });
  for (const { attachment } of attachments) {
    if (attachment.ipv4 === "") continue;
    const destination = `${splitPrefix(attachment.ipv4).address}/32`;
    wantRoute(host, { table: MAIN_TABLE, destination, via: "", link: name });
  }
};
