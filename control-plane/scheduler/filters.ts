// The filter pipeline. Each filter can say why it turned nodes away; the first that does so is the one that counts.
// Fixed filters look only at the node and the spec and run once for each group of tasks, counting ones depend on what was
// placed already and run again at each placement.

import { matchesConstraints } from "#control-plane/specs/constraint.ts";
import { needsParent, parentFor, vlanOf } from "#net/model/driver-options.ts";
import type { Network, Node, PortConfig, TaskSpec } from "#proto/gen/types.ts";
import { NodeAvailability, NodeState } from "#proto/gen/types.ts";
import type { Candidate } from "./candidate.ts";
import { portsText } from "./host-ports.ts";

/** What the tasks of a group ask of a node. */
export type Wanted = {
  readonly spec: TaskSpec;
  /** What the node has to publish for the task alone. */
  readonly ports: readonly PortConfig[];
  readonly networks: readonly Network[];
};

export type Filter = {
  readonly name: string;
  accepts(candidate: Candidate, wanted: Wanted): boolean;
  /** Why `count` nodes were turned away. */
  explain(count: number, wanted: Wanted): string;
};

const nodes = (count: number): string => (count === 1 ? "1 node" : `${count} nodes`);

const ready: Filter = {
  name: "ready",
  accepts: ({ node }) =>
    node.status?.state === NodeState.NODE_READY &&
    (node.spec?.availability ?? NodeAvailability.ACTIVE) <= NodeAvailability.ACTIVE,
  explain: (count) => `${nodes(count)} not available for new tasks`,
};

const image: Filter = {
  name: "image",
  accepts: ({ node }, { spec }) => hasImage(node, spec),
  explain: (count, { spec }) =>
    `image ${spec.container?.image ?? ""} is missing on ${nodes(count)}: load it there with tsctl image load`,
};

const constraint: Filter = {
  name: "constraint",
  accepts: ({ node }, { spec }) => matchesConstraints(node, spec.placement?.constraints ?? []),
  explain: (count) => `scheduling constraints not satisfied on ${nodes(count)}`,
};

const platform: Filter = {
  name: "platform",
  accepts: ({ node }) => (node.description?.os ?? "") === "" || node.description?.os === "linux",
  explain: (count) => `${nodes(count)} can't run Linux containers`,
};

/** A kernel that lacks what a network needs says so when its node registers. */
const network: Filter = {
  name: "network",
  accepts: ({ node }, { networks }) => networks.every((network) => canHave(node, network)),
  explain: (count, { networks }) => {
    const names = networks.filter(({ spec }) => needsParent(spec?.driver ?? "")).map(nameOf);
    return names.length === 0
      ? `the kernel of ${nodes(count)} lacks what a network of the service needs`
      : `${nodes(count)} without a parent interface for network ${names.join(", ")}, or without its driver: see --opt parent@HOSTNAME=…`;
  },
};

const nameOf = ({ spec }: Network): string => spec?.annotations?.name ?? "";

const CAPABILITY: Readonly<Record<string, string>> = { overlay: "vxlan", macvlan: "macvlan", ipvlan: "ipvlan" };

const canHave = ({ description, spec: own }: Node, { spec }: Network): boolean => {
  const driver = spec?.driver ?? "";
  const lacks = (capability: string): boolean => (description?.capabilities[capability] ?? "") !== "";
  if (lacks(CAPABILITY[driver] ?? "")) return false;
  if (!needsParent(driver)) return true;
  const labels = { ...description?.engineLabels, ...own?.annotations?.labels };
  const parent = parentFor(spec!.options, { hostname: description?.hostname ?? "", labels });
  return parent !== undefined && !(vlanOf(parent) !== undefined && lacks("8021q"));
};

const resources: Filter = {
  name: "resources",
  accepts: ({ freeCpus, freeMemory }, { spec }) =>
    (spec.reservations?.nanoCpus ?? 0) <= Math.max(freeCpus, 0) &&
    (spec.reservations?.memoryBytes ?? 0) <= Math.max(freeMemory, 0),
  explain: (count) => `insufficient resources on ${nodes(count)}`,
};

const hostPort: Filter = {
  name: "host-port",
  accepts: ({ ports: taken }, { ports }) => taken.choose(ports, 0) !== undefined,
  explain: (count, { ports }) => `${portsText(ports)} in use on ${nodes(count)}`,
};

const replicas: Filter = {
  name: "max-replicas",
  accepts: ({ serviceTasks }, { spec }) => {
    const most = spec.placement?.maxReplicasPerNode ?? 0;
    return most === 0 || serviceTasks < most;
  },
  explain: (count) => `max replicas per node limit reached on ${nodes(count)}`,
};

/** In the order in which they are asked. */
export const fixedFilters: readonly Filter[] = [ready, image, constraint, platform, network];
export const countingFilters: readonly Filter[] = [resources, hostPort, replicas];

/**
 * Whether the node has the image: by the digest that was pinned when the service was made, else by name. The tag is
 * "latest" when the user gave none.
 */
export const hasImage = (node: Node, spec: TaskSpec): boolean => {
  const images = node.description?.images ?? [];
  const digest = spec.container?.imageDigest ?? "";
  if (digest !== "") return images.some((found) => found.digest === digest);
  const name = spec.container?.image ?? "";
  const tagged = /:[^/]*$/.test(name) ? name : `${name}:latest`;
  return images.some((found) => found.names.includes(tagged) || found.names.includes(name) || found.digest === name);
};
