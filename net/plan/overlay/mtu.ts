import { familyOf } from "#net/model/cidr.ts";

/** Outer Ethernet is the underlay's own; inside: IP (20 or 40), UDP 8, VXLAN 8, inner Ethernet 14 (RFC 7348 §5). */
const VXLAN_OVERHEAD_BYTES = { 4: 50, 6: 70 } as const;

/** MTU of an overlay's links. `askedBytes` 0: as large as the underlay allows; it never gets larger than that. */
export const overlayMtu = (underlayMtuBytes: number, vtep: string, askedBytes: number): number => {
  const possible = underlayMtuBytes - VXLAN_OVERHEAD_BYTES[familyOf(vtep)];
  return askedBytes > 0 ? Math.min(askedBytes, possible) : possible;
};
