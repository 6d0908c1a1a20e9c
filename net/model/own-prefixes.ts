// Prefixes that tswarm uses on every node for itself: the transit links between an overlay and its host
// (net/plan/overlay/transit.ts). Networks can't have them.

/** The shared address space (RFC 6598). */
export const TRANSIT_V4 = "100.64.0.0/10";
export const TRANSIT_V6 = "fd74:7377:6172:6d::/64";
/** Two VNIs with the same remainder have the same transit addresses. */
export const TRANSIT_PAIRS = 1 << 21;
