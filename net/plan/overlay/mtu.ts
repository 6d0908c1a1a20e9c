import { TswarmError } from "#base/errors.ts";
import { familyOf, splitPrefix } from "#net/model/cidr.ts";
import type { HostNetworks } from "#net/model/host-networks.ts";
import type { HostState } from "#net/model/host-state.ts";

/** Outer Ethernet is the underlay's own; inside: IP (20 or 40), UDP 8, VXLAN 8, inner Ethernet 14 (RFC 7348 §5). */
const VXLAN_OVERHEAD_BYTES = { 4: 50, 6: 70 } as const;

/** Links with a smaller one have no IPv6 (RFC 8200 §5). */
const IPV6_MINIMUM_BYTES = 1280;

/**
 * MTU of an overlay's links. `askedBytes` 0: as large as the underlay allows. It gets larger than that only where IPv6 needs
 * it: then the kernel splits the outer packets.
 */
export const overlayMtu = (underlayMtuBytes: number, vtep: string, askedBytes: number, hasIpv6: boolean): number => {
  const possible = Math.max(underlayMtuBytes - VXLAN_OVERHEAD_BYTES[familyOf(vtep)], hasIpv6 ? IPV6_MINIMUM_BYTES : 0);
  return askedBytes > 0 ? Math.min(askedBytes, possible) : possible;
};

type Peer = { readonly vtep: string };
const addressesOf = (peers: readonly Peer[]): readonly string[] => [...new Set(peers.map(({ vtep }) => vtep))];

/** Addresses of all hosts that VXLAN packets are sent to. */
export const peersOf = ({ remotes, networks }: HostNetworks): readonly string[] =>
  addressesOf([...remotes, ...networks.flatMap(({ mesh }) => mesh?.others ?? [])]);

/**
 * What the narrowest way to a peer takes; without peers, what the link with the VTEP address takes. Throws `unavailable`
 * when no link has it: then neither the VXLAN device nor its MTU can be right.
 */
export const underlayMtu = (vtep: string, peers: readonly Peer[], { namespaces, pathMtuBytes }: HostState): number => {
  const { addresses, links } = namespaces.get("")!;
  const own = addresses.values().find(({ address }) => splitPrefix(address).address === vtep);
  if (own === undefined)
    throw new TswarmError(
      "unavailable",
      `No link of this host has the address ${vtep} that the other nodes know. Configure it, or start the agent with the right one.`,
    );
  const ways = addressesOf(peers).flatMap((peer) => pathMtuBytes.get(peer) || []);
  return ways.length > 0 ? Math.min(...ways) : links.get(own.link)!.mtuBytes;
};
