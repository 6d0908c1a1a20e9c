// What the drivers write: the objects that should exist, namespace by namespace, in the shape that a dump has.
// Comparing the two is then the same for all drivers.

import {
  type AddressState,
  addressKey,
  type Choices,
  type FdbState,
  fdbKey,
  type NeighbourState,
  neighbourKey,
  type RouteState,
  type RuleState,
  routeKey,
  ruleKey,
  type UpperState,
  type VxlanState,
} from "#net/model/host-state.ts";
import type { PlacedChoice } from "#net/plan/nat/choices.ts";

export type TargetLink = {
  readonly name: string;
  readonly kind: "bridge" | "veth" | "vxlan" | "macvlan" | "ipvlan" | "vlan";
  /** "": any. */
  readonly mac: string;
  readonly mtuBytes: number;
  readonly master: string;
  readonly isolated: boolean;
  readonly hairpin?: boolean;
  readonly noBroadcast?: boolean;
  readonly alias: string;
  readonly vxlan?: VxlanState;
  readonly upper?: UpperState;
  /** One of that kind that is there already is used as it is, and stays when it is not wanted any more. */
  readonly shared?: boolean;
  /** On the outer end of a veth only: where its inner end is. */
  readonly peer?: { readonly ns: string; readonly name: string };
};

export type TargetNamespace = {
  readonly links: Map<string, TargetLink>;
  readonly addresses: Map<string, AddressState>;
  readonly routes: Map<string, RouteState>;
  readonly rules: Map<string, RuleState>;
  readonly neighbours: Map<string, NeighbourState>;
  readonly fdb: Map<string, FdbState>;
  /** By name with slashes, as in "net/ipv4/conf/eth0/log_martians". */
  readonly sysctls: Map<string, string>;
  /** undefined: no table of ours. */
  ruleset: Ruleset | undefined;
};

export type Ruleset = {
  /** Of everything but the backends. */
  readonly digest: string;
  /** All of it. */
  readonly text: string;
  readonly choices: readonly PlacedChoice[];
  /** Of the choices, by name. */
  readonly backends: Choices;
};

export type Target = Map<string, TargetNamespace>;

export const targetNamespace = (target: Target, ns: string): TargetNamespace => {
  let found = target.get(ns);
  if (found === undefined) {
    found = {
      links: new Map(),
      addresses: new Map(),
      routes: new Map(),
      rules: new Map(),
      neighbours: new Map(),
      fdb: new Map(),
      sysctls: new Map(),
      ruleset: undefined,
    };
    target.set(ns, found);
  }
  return found;
};

export const wantLink = (ns: TargetNamespace, link: TargetLink): void => void ns.links.set(link.name, link);

/** Empty addresses (a family that the network does not have) are ignored. */
export const wantAddress = (ns: TargetNamespace, link: string, address: string): void => {
  if (address !== "") ns.addresses.set(addressKey({ link, address }), { link, address });
};

export const wantRoute = (ns: TargetNamespace, route: RouteState): void => void ns.routes.set(routeKey(route), route);
export const wantRule = (ns: TargetNamespace, rule: RuleState): void => void ns.rules.set(ruleKey(rule), rule);
export const wantNeighbour = (ns: TargetNamespace, n: NeighbourState): void =>
  void ns.neighbours.set(neighbourKey(n), n);
export const wantFdb = (ns: TargetNamespace, f: FdbState): void => void ns.fdb.set(fdbKey(f), f);
