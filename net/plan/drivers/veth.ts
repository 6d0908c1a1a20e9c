// The veth of one attachment: inner end in the container, outer end a port of the network's bridge.

import { hostEndName, mark, peerMark } from "#net/model/ifname.ts";
import type { LocalAttachment } from "#net/plan/drivers/driver.ts";
import { type Target, targetNamespace, wantAddress, wantLink } from "#net/plan/target.ts";

export type Port = {
  readonly ns: string;
  readonly bridge: string;
  readonly mtuBytes: number;
  readonly isolated: boolean;
  /** A container that reaches itself by a port of the host: with br_netfilter that never leaves the bridge. */
  readonly hairpin?: boolean;
};

export const wantVeth = (target: Target, { container, attachment }: LocalAttachment, port: Port): void => {
  const { netns } = container;
  const { ifname, mac, networkId } = attachment;
  const { mtuBytes } = port;
  wantLink(targetNamespace(target, port.ns), {
    name: hostEndName(netns, ifname),
    kind: "veth",
    mac: "",
    mtuBytes,
    master: port.bridge,
    isolated: port.isolated,
    ...(port.hairpin && { hairpin: true }),
    alias: peerMark(netns, ifname),
    peer: { ns: netns, name: ifname },
  });
  const inner = targetNamespace(target, netns);
  wantLink(inner, { name: ifname, kind: "veth", mac, mtuBytes, master: "", isolated: false, alias: mark(networkId) });
  wantAddress(inner, ifname, attachment.ipv4);
  wantAddress(inner, ifname, attachment.ipv6);
};
