// The planner of a host: what should be, what is, and the changes that make the second equal to the first. Pure; planning
// again after all changes were made gives none, and so does planning after a crash anywhere in between and making the rest.

import type { Driver, HostNetwork, HostNetworks, LocalContainer, RemoteEndpoint } from "#net/model/host-networks.ts";
import type { HostState, NamespaceState } from "#net/model/host-state.ts";
import { planContainer } from "#net/plan/container.ts";
import { diff } from "#net/plan/diff.ts";
import { planBridge } from "#net/plan/drivers/bridge.ts";
import type { LocalAttachment, PlanNetwork } from "#net/plan/drivers/driver.ts";
import { planHostNetwork } from "#net/plan/drivers/host.ts";
import { planMacvlan } from "#net/plan/drivers/macvlan.ts";
import { planNone } from "#net/plan/drivers/none.ts";
import { planOverlay } from "#net/plan/drivers/overlay.ts";
import { nowhere, type Placed } from "#net/plan/nat/choices.ts";
import { type Door, hostRuleset } from "#net/plan/nat/masquerade.ts";
import { vipRuleset } from "#net/plan/nat/vip.ts";
import type { NetOp } from "#net/plan/op.ts";
import { inOrder } from "#net/plan/order.ts";
import { underlayMtu } from "#net/plan/overlay/mtu.ts";
import { type Ruleset, type Target, targetNamespace } from "#net/plan/target.ts";

const DRIVERS: { readonly [K in Driver]: PlanNetwork } = {
  none: planNone,
  host: planHostNetwork,
  bridge: planBridge,
  overlay: planOverlay,
  macvlan: planMacvlan,
  ipvlan: planMacvlan,
};

/**
 * Throws `unavailable` when an overlay is wanted and no link has the node's VTEP address: without it neither the VXLAN
 * device nor its MTU can be right.
 */
export const planHost = (desired: HostNetworks, observed: HostState, limits: Limits = LIMITS): readonly NetOp[] =>
  planTarget(targetOf(desired, observed, limits), observed);

/** A bridge has 1,023 ports (linux/net/bridge/br_private.h, BR_PORT_BITS); some are for other things than containers. */
export const LIMITS = { portsPerBridge: 1_000 } as const;
export type Limits = { readonly [K in keyof typeof LIMITS]: number };

export const planTarget = (target: Target, observed: HostState): readonly NetOp[] => inOrder(diff(target, observed));

/** What should be in each namespace. Throws as `planHost` does. */
export const targetOf = (desired: HostNetworks, observed: HostState, limits: Limits = LIMITS): Target => {
  const target: Target = new Map();
  const host = targetNamespace(target, "");
  const networks = new Map(desired.networks.map((network) => [network.id, network]));
  const attachments = attachmentsByNetwork(desired);
  const remotes = Map.groupBy(desired.remotes, (remote: RemoteEndpoint) => remote.networkId);
  const publishedAddresses = new Set(
    desired.published.flatMap(({ backends }) => backends.flatMap(({ ipv4, ipv6 }) => [ipv4, ipv6])),
  );
  const doors: Door[] = [];
  for (const network of desired.networks) {
    const on = {
      network,
      node: desired.node,
      underlayMtuBytes: (peers: readonly { readonly vtep: string }[]) =>
        underlayMtu(desired.node.vtep, peers, observed),
      bridgeNetfilter: observed.bridgeNetfilter,
      mtuOfLink: (name: string) => observed.namespaces.get("")?.links.get(name)?.mtuBytes,
      masterOf: (ns: string, link: string) => observed.namespaces.get(ns)?.links.get(link)?.master ?? "",
      portsPerBridge: limits.portsPerBridge,
      isPublished: (address: string) => publishedAddresses.has(address),
      attachments: attachments.get(network.id) ?? [],
      remotes: remotes.get(network.id) ?? [],
    };
    const door = DRIVERS[network.driver](on, target);
    if (door !== undefined) doors.push(door);
  }
  const rulesetFor = rulesetsByNetworks(desired.containers, observed);
  for (const container of desired.containers)
    if (container.netns !== "") planContainer(container, networks, rulesetFor, target);
  host.ruleset = hostRuleset(doors, desired.published, placedIn(observed.namespaces.get("")));
  if (desired.published.length > 0)
    for (const { link } of doors) host.sysctls.set(`net/ipv4/conf/${link}/route_localnet`, "1");
  return target;
};

const attachmentsByNetwork = (desired: HostNetworks): ReadonlyMap<string, readonly LocalAttachment[]> => {
  const all = desired.containers.flatMap((container) =>
    container.attachments.map((attachment) => ({ container, attachment })),
  );
  return Map.groupBy(all, ({ attachment }) => attachment.networkId);
};

/**
 * Containers on the same networks have the same rules: they are written once per combination, with the backends arranged as
 * in a container that has them already. So also new containers get that arrangement, and a change is the same for all.
 */
const rulesetsByNetworks = (
  containers: readonly LocalContainer[],
  { namespaces }: HostState,
): ((on: readonly HostNetwork[]) => Ruleset | undefined) => {
  const existing = new Map<string, NamespaceState>();
  for (const { netns, attachments } of containers) {
    const state = namespaces.get(netns);
    const key = attachments.map(({ networkId }) => networkId).join(" ");
    if (state !== undefined && state.nftChoices.size > 0 && !existing.has(key)) existing.set(key, state);
  }
  const known = new Map<string, Ruleset | undefined>();
  return (on) => {
    const key = on.map((network) => network.id).join(" ");
    if (!known.has(key)) {
      const services = on.flatMap((network) => network.services);
      known.set(key, vipRuleset(services, placedIn(existing.get(key))));
    }
    return known.get(key);
  };
};

const placedIn =
  (state: NamespaceState | undefined): Placed =>
  (name) =>
    state?.nftChoices.get(name) ?? nowhere(name);
