// An overlay on one node: a namespace of its own with a bridge, the VXLAN device and the outer ends of the containers'
// veths. Nothing is flooded or learned: where a MAC lives and which MAC has an address comes from the node's view. The
// gateway has the same address and MAC on every node, so that a container leaves through its own one.

import { familyOf, splitPrefix } from "#net/model/cidr.ts";
import { overlayOptions, type Replication } from "#net/model/driver-options.ts";
import { BROADCAST_MAC, DEFAULT_ROUTE, MAIN_TABLE, ZERO_MAC } from "#net/model/host-state.ts";
import {
  egressName,
  hostEndName,
  joinInnerName,
  joinOuterName,
  mark,
  OVERLAY_BRIDGE,
  OVERLAY_UPLINK,
  OVERLAY_VXLAN,
  overlayBridge,
  overlayNs,
  peerMark,
} from "#net/model/ifname.ts";
import { deriveMac } from "#net/model/mac.ts";
import type { NetworkOnHost, PlanNetwork } from "#net/plan/drivers/driver.ts";
import { wantVeth } from "#net/plan/drivers/veth.ts";
import { wantForwarding } from "#net/plan/forwarding.ts";
import { type Door, type DoorPrefix, overlayRuleset } from "#net/plan/nat/masquerade.ts";
import { placePorts } from "#net/plan/overlay/bridges.ts";
import { meshChains, wantMesh } from "#net/plan/overlay/mesh.ts";
import { overlayMtu } from "#net/plan/overlay/mtu.ts";
import { transitOf } from "#net/plan/overlay/transit.ts";
import {
  type Target,
  type TargetNamespace,
  targetNamespace,
  wantAddress,
  wantFdb,
  wantLink,
  wantNeighbour,
  wantRoute,
} from "#net/plan/target.ts";

export const planOverlay: PlanNetwork = (on, target) => {
  const { network, node } = on;
  const nsName = overlayNs(network.vni);
  const ns = targetNamespace(target, nsName);
  const { mtuBytes: asked, replicate } = overlayOptions(network.options);
  const peers = [...on.remotes, ...(network.mesh?.others ?? [])];
  const hasIpv6 = network.subnets.some(({ subnet }) => subnet.includes(":"));
  const mtuBytes = overlayMtu(on.underlayMtuBytes(peers), node.vtep, asked, hasIpv6);
  const alias = mark(network.id);
  const mac = network.mesh?.self.mac ?? deriveMac(network.id);
  // The bridge's IPv6 address is everywhere, so duplicate detection would find it.
  ns.sysctls.set("net/ipv6/conf/all/accept_dad", "0").set("net/ipv6/conf/default/accept_dad", "0");
  // Nothing here filters what crosses the bridge, and tracking every packet of it is not free.
  if (on.bridgeNetfilter)
    ns.sysctls.set("net/bridge/bridge-nf-call-iptables", "0").set("net/bridge/bridge-nf-call-ip6tables", "0");
  wantLink(ns, { name: OVERLAY_BRIDGE, kind: "bridge", mac, mtuBytes, master: "", isolated: false, alias });
  wantLink(ns, {
    name: OVERLAY_VXLAN,
    kind: "vxlan",
    mac: "",
    mtuBytes,
    master: OVERLAY_BRIDGE,
    isolated: false,
    alias,
    ...(replicate === "multicast" && { noBroadcast: true }),
    vxlan: { vni: network.vni, port: node.dataPathPort, local: node.vtep },
  });
  for (const { subnet, gateway } of network.subnets)
    wantAddress(ns, OVERLAY_BRIDGE, `${gateway}/${splitPrefix(subnet).length}`);
  wantPorts(target, ns, on, mtuBytes);
  wantRemotes(ns, on);
  wantReplication(ns, on, replicate);
  if (network.mesh !== undefined) wantMesh(ns, network, network.mesh, on.remotes);
  return network.internal ? undefined : wantWayOut(target, ns, on, mtuBytes);
};

/** More containers than one bridge has ports for are on further ones, each joined to br0 by a veth: a star, so no loop. */
const wantPorts = (target: Target, ns: TargetNamespace, on: NetworkOnHost, mtuBytes: number): void => {
  const { network, attachments, portsPerBridge } = on;
  const nsName = overlayNs(network.vni);
  const placed = placePorts(
    attachments.map(({ container, attachment }) =>
      on.masterOf(nsName, hostEndName(container.netns, attachment.ifname)),
    ),
    portsPerBridge,
    (n) => on.masterOf(nsName, joinOuterName(network.vni, n)) === OVERLAY_BRIDGE,
  );
  attachments.forEach((local, i) => {
    wantVeth(target, local, { ns: nsName, bridge: overlayBridge(placed[i]!), mtuBytes, isolated: false });
  });
  const alias = mark(network.id);
  for (const n of new Set(placed)) {
    if (n === 0) continue;
    const link = { mtuBytes, master: "", isolated: false, alias } as const;
    const [bridge, outer, inner] = [overlayBridge(n), joinOuterName(network.vni, n), joinInnerName(n)];
    wantLink(ns, { ...link, name: bridge, kind: "bridge", mac: deriveMac(`${network.id} ${bridge}`) });
    // The gateway is on br0. The kernel answers for any of its addresses on any link unless it is told not to.
    ns.sysctls.set(`net/ipv4/conf/${bridge}/arp_ignore`, "8").set(`net/ipv6/conf/${bridge}/disable_ipv6`, "1");
    const pair = { ...link, kind: "veth", mac: "" } as const;
    const peer = { ns: nsName, name: inner };
    wantLink(ns, { ...pair, name: outer, master: OVERLAY_BRIDGE, alias: peerMark(nsName, inner), peer });
    wantLink(ns, { ...pair, name: inner, master: bridge });
  }
};

const wantRemotes = (ns: TargetNamespace, on: NetworkOnHost): void => {
  for (const { mac, vtep, ipv4, ipv6 } of on.remotes) {
    wantFdb(ns, { link: OVERLAY_VXLAN, mac, vtep });
    for (const ip of [ipv4, ipv6]) if (ip !== "") wantNeighbour(ns, { link: OVERLAY_VXLAN, ip, mac });
  }
};

/**
 * Frames with many receivers are copied to every node of the network, by the sender (head-end replication). The device answers
 * for neighbours all the same. With an entry for unknown MACs, frames for a container that has left are copied too.
 */
const wantReplication = (ns: TargetNamespace, { remotes }: NetworkOnHost, replicate: Replication): void => {
  if (replicate === "none") return;
  const mac = replicate === "broadcast" ? BROADCAST_MAC : ZERO_MAC;
  for (const { vtep } of remotes) wantFdb(ns, { link: OVERLAY_VXLAN, mac, vtep });
};

const wantWayOut = (target: Target, ns: TargetNamespace, { network }: NetworkOnHost, mtuBytes: number): Door => {
  const host = targetNamespace(target, "");
  const nsName = overlayNs(network.vni);
  const link = egressName(network.vni);
  const transit = transitOf(network.vni);
  wantLink(host, {
    name: link,
    kind: "veth",
    mac: "",
    mtuBytes,
    master: "",
    isolated: false,
    alias: peerMark(nsName, OVERLAY_UPLINK),
    peer: { ns: nsName, name: OVERLAY_UPLINK },
  });
  const up = { name: OVERLAY_UPLINK, kind: "veth", mac: "", mtuBytes, master: "", isolated: false } as const;
  wantLink(ns, { ...up, alias: mark(network.id) });
  const subnets = network.subnets.map(({ subnet }) => subnet);
  const prefixes: DoorPrefix[] = [];
  for (const family of new Set(subnets.map((subnet) => familyOf(splitPrefix(subnet).address)))) {
    const [hostEnd, overlayEnd, prefix] =
      family === 4
        ? [transit.host4, transit.overlay4, transit.prefix4]
        : [transit.host6, transit.overlay6, transit.prefix6];
    const length = splitPrefix(prefix).length;
    wantAddress(host, link, `${hostEnd}/${length}`);
    wantAddress(ns, OVERLAY_UPLINK, `${overlayEnd}/${length}`);
    wantRoute(ns, { table: MAIN_TABLE, destination: DEFAULT_ROUTE[family], via: hostEnd, link: OVERLAY_UPLINK });
    prefixes.push({ prefix, masquerade: true, routed: false });
  }
  wantForwarding(
    host,
    prefixes.map(({ prefix }) => prefix),
  );
  wantForwarding(ns, subnets);
  const { mesh } = network;
  ns.ruleset = overlayRuleset(mesh === undefined ? [] : meshChains(network, mesh));
  for (const destination of mesh === undefined ? [] : subnets) {
    const via = familyOf(splitPrefix(destination).address) === 4 ? transit.overlay4 : transit.overlay6;
    wantRoute(host, { table: MAIN_TABLE, destination, via, link });
  }
  return { link, prefixes, internal: false };
};
