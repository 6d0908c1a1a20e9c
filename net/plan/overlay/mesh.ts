// The mesh of published ports: the host that accepted a connection routes it, source untouched, over the mesh's network to
// the host of the backend; answers must come back the same way, for only the first host can translate them.
//
//   client → A: translated to backend T → A's overlay → routed to B's address on the mesh → B's overlay → T
//   T → its gateway, B's overlay: the connection's mark says A → routed to A's address on the mesh → A → client
//
// B knows A by the MAC that A's packets come from, and keeps it as the connection's mark.

import { contains, familyOf, parseAddress, splitPrefix } from "#net/model/cidr.ts";
import type { HostNetwork, Mesh, MeshMember, RemoteEndpoint } from "#net/model/host-networks.ts";
import { DEFAULT_ROUTE, MAIN_TABLE, WAY_BACK } from "#net/model/host-state.ts";
import { OVERLAY_BRIDGE, OVERLAY_UPLINK, OVERLAY_VXLAN } from "#net/model/ifname.ts";
import { anyOf, type Chain } from "#net/plan/nat/ruleset.ts";
import { type TargetNamespace, wantAddress, wantFdb, wantNeighbour, wantRoute, wantRule } from "#net/plan/target.ts";

/** Number of a member: the place of its IPv4 (else IPv6) address in its subnet, the same on every host. */
const numberOf = (member: MeshMember, network: HostNetwork): number => {
  const address = member.ipv4 || member.ipv6;
  const subnet = network.subnets.find((s) => contains(s.subnet, address))!.subnet;
  return Number((parseAddress(address) - parseAddress(splitPrefix(subnet).address)) & 0xff_ffffn);
};

const addressesOf = ({ ipv4, ipv6 }: MeshMember): readonly string[] => [ipv4, ipv6].filter((a) => a !== "");

export const wantMesh = (
  ns: TargetNamespace,
  network: HostNetwork,
  mesh: Mesh,
  remotes: readonly RemoteEndpoint[],
): void => {
  for (const where of ["all", "default"]) {
    // Packets of anybody come in over the bridge, and leave over it again.
    ns.sysctls.set(`net/ipv4/conf/${where}/rp_filter`, "0").set(`net/ipv4/conf/${where}/send_redirects`, "0");
  }
  for (const address of addressesOf(mesh.self)) {
    const subnet = network.subnets.find((s) => contains(s.subnet, address))!.subnet;
    wantAddress(ns, OVERLAY_BRIDGE, `${address}/${splitPrefix(subnet).length}`);
  }
  const byVtep = new Map<string, MeshMember>();
  for (const member of mesh.others) {
    byVtep.set(member.vtep, member);
    wantFdb(ns, { link: OVERLAY_VXLAN, mac: member.mac, vtep: member.vtep });
    const number = numberOf(member, network);
    for (const address of addressesOf(member)) {
      const family = familyOf(address);
      const table = WAY_BACK.firstTable + number;
      wantNeighbour(ns, { link: OVERLAY_VXLAN, ip: address, mac: member.mac });
      wantRoute(ns, { table, destination: DEFAULT_ROUTE[family], via: address, link: OVERLAY_BRIDGE });
      wantRule(ns, { family, priority: WAY_BACK.priority, from: "", mark: number, table });
    }
  }
  for (const { ipv4, ipv6, vtep } of remotes) {
    const host = byVtep.get(vtep);
    if (host === undefined) continue;
    wantVia(ns, ipv4, host.ipv4);
    wantVia(ns, ipv6, host.ipv6);
  }
};

const wantVia = (ns: TargetNamespace, address: string, via: string): void => {
  if (address === "" || via === "") return;
  const destination = `${address}/${familyOf(address) === 4 ? 32 : 128}`;
  wantRoute(ns, { table: MAIN_TABLE, destination, via, link: OVERLAY_BRIDGE });
};

/** In the overlay's namespace, before routing. */
export const meshChains = (network: HostNetwork, mesh: Mesh): readonly Chain[] => {
  const rules = [`iifname "${OVERLAY_BRIDGE}" ct direction reply ct mark != 0 meta mark set ct mark`];
  if (mesh.others.length > 0) {
    const marks = anyOf(mesh.others.map((member) => `${member.mac} : ${numberOf(member, network)}`));
    rules.unshift(`iifname "${OVERLAY_BRIDGE}" ct direction original ct mark set ether saddr map ${marks}`);
  }
  // What comes in from this host is answered over it, whatever host used the same ports before.
  rules.unshift(`iifname "${OVERLAY_UPLINK}" ct direction original ct mark set 0`);
  return [{ name: "prerouting", hook: "filter hook prerouting priority -150", rules }];
};
