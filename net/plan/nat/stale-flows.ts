// Which translated flows have lost their way. A flow keeps the translation of its first packet: a client that sends UDP from
// one port for ever would go on to a backend that has left, and a connection to a container that is gone would hang until
// it times out. What has no connection leaves with the backend; connections go on while the container is there, and are
// refused by another backend once the flow is deleted. Nothing is deleted for its age. Pure.

import { contains, splitPrefix } from "#net/model/cidr.ts";
import type { HostNetworks, PublishedPort } from "#net/model/host-networks.ts";

export type TranslatedFlow = {
  /** IANA number. */
  readonly protocol: number;
  /** What the client asked for. */
  readonly destination: string;
  readonly destinationPort: number;
  /** Where it is translated to. */
  readonly target: string;
};

const NUMBERS = { tcp: 6, udp: 17, sctp: 132 } as const;
const hasConnections = (protocol: number): boolean => protocol === NUMBERS.tcp || protocol === NUMBERS.sctp;

type IsStale = (flow: TranslatedFlow) => boolean;

/** Where flows of one network, or of this host's published ports, may go. */
type Ways = {
  readonly isStale: IsStale;
  /** "virtual address > backend", and addresses of containers: when one of them is missing later, flows may be stale. */
  readonly known: ReadonlySet<string>;
};

/** By network id; "" for published ports. */
export type FlowWays = ReadonlyMap<string, Ways>;

export const flowWays = (desired: HostNetworks): FlowWays => {
  const alive = new Map(desired.networks.map((network) => [network.id, new Set<string>()]));
  for (const { attachments } of desired.containers)
    for (const { networkId, ipv4, ipv6 } of attachments)
      for (const prefix of [ipv4, ipv6]) if (prefix !== "") alive.get(networkId)?.add(splitPrefix(prefix).address);
  for (const { networkId, ipv4, ipv6 } of desired.remotes)
    for (const address of [ipv4, ipv6]) if (address !== "") alive.get(networkId)?.add(address);
  const ways = new Map<string, Ways>();
  for (const { id, subnets, services } of desired.networks) {
    const addresses = alive.get(id)!;
    const pairs = new Set<string>();
    for (const service of services)
      for (const family of ["ipv4", "ipv6"] as const)
        for (const backend of service.backends) pairs.add(pair(service[family], backend[family]));
    const isOurs = (address: string): boolean => subnets.some(({ subnet }) => contains(subnet, address));
    ways.set(id, {
      known: new Set([...pairs, ...addresses]),
      isStale: ({ protocol, destination, target }) =>
        // Others may translate in a container too, to networks of their own.
        isOurs(destination) &&
        isOurs(target) &&
        !(hasConnections(protocol) ? addresses.has(target) : pairs.has(pair(destination, target))),
    });
  }
  ways.set("", publishedWays(desired.published));
  return ways;
};

const pair = (destination: string, target: string): string => `${destination} > ${target}`;

/** Whether a backend of another node is still there is not known here: its node ends its connections. */
const publishedWays = (published: readonly PublishedPort[]): Ways => {
  const ports = published.map((port) => ({
    port,
    number: NUMBERS[port.protocol],
    targets: new Set(port.backends.flatMap(({ ipv4, ipv6 }) => [ipv4, ipv6])),
  }));
  const name = ({ protocol, port, hostIp }: PublishedPort): string => `${hostIp}:${port}/${protocol}`;
  return {
    known: new Set(ports.flatMap(({ port, targets }) => [...targets].map((target) => pair(name(port), target)))),
    isStale: ({ protocol, destination, destinationPort, target }) =>
      !hasConnections(protocol) &&
      ports.some(
        ({ port, number, targets }) =>
          number === protocol &&
          port.port === destinationPort &&
          (port.hostIp === "" || port.hostIp === destination) &&
          !targets.has(target),
      ),
  };
};

/**
 * Namespaces in which flows may have become stale since `before` (undefined: nothing is known of it), with what tells them:
 * those of the containers on a network that lost a way, and the host's when a published port did.
 */
export const staleFlows = (
  desired: HostNetworks,
  ways: FlowWays,
  before: FlowWays | undefined,
): Map<string, IsStale> => {
  const lost = new Set(
    [...ways].filter(([id, { known }]) => !includes(known, before?.get(id)?.known)).map(([id]) => id),
  );
  const found = new Map<string, IsStale>();
  for (const { netns, attachments } of desired.containers) {
    if (netns === "" || !attachments.some(({ networkId }) => lost.has(networkId))) continue;
    const own = attachments.flatMap(({ networkId }) => ways.get(networkId) ?? []);
    found.set(netns, (flow) => own.some(({ isStale }) => isStale(flow)));
  }
  if (lost.has("") && desired.published.length > 0) found.set("", ways.get("")!.isStale);
  return found;
};

const includes = (now: ReadonlySet<string>, before: ReadonlySet<string> | undefined): boolean => {
  for (const way of before ?? [""]) if (!now.has(way)) return false;
  return true;
};
