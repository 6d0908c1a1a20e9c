// Names of links and namespaces. IFNAMSIZ leaves 15 bytes (linux/if.h); ids have 25 characters, so names are digests of
// them: the same id gives the same name after a crash or a restart, and nothing has to be remembered.
// In the host's namespace every name of ours begins with "ts" and has one of the shapes below. A link that was created
// but not yet marked (the kernel takes no alias at creation) is recognised by that shape alone.

import { digestBase36 } from "#net/model/digest.ts";

export const MAX_IFNAME_BYTES = 15;
export const OVERLAY_BRIDGE = "br0";
export const OVERLAY_VXLAN = "vxlan0";
/** Further bridges of an overlay with more ports than one bridge can have: br1, br2, … */
export const overlayBridge = (n: number): string => `br${n}`;
/** The bridge of that number in an overlay; undefined: not one of ours. */
export const overlayBridgeNumber = (name: string): number | undefined => {
  const digits = /^br(0|[1-9]\d?)$/.exec(name)?.[1];
  return digits === undefined ? undefined : Number(digits);
};
/** The ends of the veth that joins br<n> (inner) to br0 (outer). */
export const joinOuterName = (vni: number, n: number): string => `j${n}-${vni}`;
export const joinInnerName = (n: number): string => `join${n}`;
/** The overlay's end of its way out. */
export const OVERLAY_UPLINK = "up0";
export const DEFAULT_BRIDGE = "ts0";

export const bridgeName = (networkId: string, networkName: string): string =>
  networkName === "bridge" ? DEFAULT_BRIDGE : `ts-${digestBase36(networkId, 12)}`;

/** The end of a container's veth that is not in the container. */
export const hostEndName = (containerNs: string, ifname: string): string =>
  `tsv${digestBase36(`${containerNs} ${ifname}`, 12)}`;

/** The host's own macvlan beside those of a network's containers. */
export const shimName = (networkId: string): string => `tsm${digestBase36(networkId, 12)}`;

/** The host's end of an overlay's way out. */
export const egressName = (vni: number): string => `tse${vni}`;

/** The outer end of the veth whose inner end is this link of one of our namespaces, if that is what it is. */
export const outerEndName = (ns: string, name: string): string => {
  if (isOverlayNs(ns)) {
    const vni = Number(ns.slice(2));
    const join = /^join(\d+)$/.exec(name);
    if (join !== null) return joinOuterName(vni, Number(join[1]));
    return name === OVERLAY_UPLINK ? egressName(vni) : "";
  }
  return hostEndName(ns, name);
};

export const isOurHostName = (name: string): boolean => /^ts(0|-[0-9a-z]{12}|[vm][0-9a-z]{12}|e\d{1,8})$/.test(name);

export const containerNs = (taskId: string): string => `c-${taskId}`;
export const overlayNs = (vni: number): string => `o-${vni}`;
export const isOverlayNs = (ns: string): boolean => ns.startsWith("o-");
export const isContainerNs = (ns: string): boolean => ns.startsWith("c-");

/** Group of every link that we make, given at creation: until it has its alias nothing else tells whose it is. */
export const LINK_GROUP = 0x7473;

/** Alias of every link that we make. */
export const MARK = "tswarm:";
export const mark = (what: string): string => `${MARK}${what}`;
/** Alias of a veth's outer end: names the inner one, so that one dump shows which ends go with a namespace. */
export const peerMark = (ns: string, name: string): string => mark(`${ns}/${name}`);
export const peerNsOfMark = (alias: string): string | undefined =>
  alias.startsWith(MARK) && alias.includes("/") ? alias.slice(MARK.length, alias.indexOf("/")) : undefined;
