// Flags of `network create` to a spec, without a server.
import { type Issue, refuseAll } from "#base/errors.ts";
import { NetworkSpec } from "#proto/gen/types.ts";
import { readPairs } from "#tsctl/flags/pairs.ts";
import { type IpamFlags, ipamConfigs } from "#tsctl/network/ipam-flags.ts";

export type NetworkFlags = IpamFlags & {
  readonly driver?: string;
  readonly subnet: readonly string[];
  readonly opt: readonly string[];
  readonly label: readonly string[];
  readonly ipamDriver?: string;
  readonly ipamOpt: readonly string[];
  readonly ipv4?: boolean;
  readonly ipv6?: boolean;
  readonly internal?: boolean;
  readonly attachable?: boolean;
  readonly ingress?: boolean;
  readonly scope?: string;
  readonly configOnly?: boolean;
  readonly configFrom?: string;
};

/** Flags that have one answer here. */
const checkFixed = (flags: NetworkFlags, issues: Issue[]): void => {
  const { ipamDriver = "default", scope = "swarm" } = flags;
  if (ipamDriver !== "default")
    issues.push({
      field: "--ipam-driver",
      reason: `there is no driver "${ipamDriver}": the managers give out the addresses`,
      remedy: "Leave it out",
    });
  if (scope !== "swarm")
    issues.push({
      field: "--scope",
      reason: `a network of scope "${scope}" would belong to one node, here networks belong to the cluster`,
      remedy: "Leave it out; say where its tasks may run with --constraint of the service",
    });
};

/** Throws `invalid` naming every wrong flag. Addresses and options themselves are judged by the server. */
export const networkSpec = (name: string, flags: NetworkFlags): NetworkSpec => {
  const issues: Issue[] = [];
  checkFixed(flags, issues);
  const fromTemplate = flags.configFrom !== undefined;
  const spec = NetworkSpec.fromPartial({
    annotations: { name, labels: readPairs("--label", flags.label, issues) },
    // Empty: the server chooses.
    driver: flags.driver ?? "",
    options: readPairs("--opt", flags.opt, issues),
    internal: flags.internal ?? false,
    attachable: flags.attachable ?? false,
    // The families of a template are the template's.
    ipv4: flags.ipv4 !== false && !fromTemplate,
    ipv6: flags.ipv6 ?? flags.subnet.some((subnet) => subnet.includes(":")),
    ipam: ipamConfigs("--subnet", flags.subnet, flags, issues),
    ipamOptions: readPairs("--ipam-opt", flags.ipamOpt, issues),
    ingress: flags.ingress ?? false,
    configOnly: flags.configOnly ?? false,
    configFrom: flags.configFrom ?? "",
  });
  refuseAll("The command", issues);
  return spec;
};
