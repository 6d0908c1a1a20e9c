// What the drivers write: the objects that should exist, namespace by namespace, in the shape that a dump has.
// Comparing the two is then the same for all drivers.

import {
  type AddressState,
  addressKey,
  type FdbState,
  fdbKey,
  type NeighbourState,
  neighbourKey,
  type RouteState,
  type SysctlKey,
  type VxlanState,
} from "#net/model/host-state.ts";

export type TargetLink = {
  readonly name: string;
  readonly kind: "bridge" | "veth" | "vxlan";
  /** "": any. */
  readonly mac: string;
  readonly mtuBytes: number;
  readonly master: string;
  readonly isolated: boolean;
  readonly alias: string;
  readonly vxlan?: VxlanState;
  /** On the outer end of a veth only: where its inner end is. */
  readonly peer?: { readonly ns: string; readonly name: string };
};

export type TargetNamespace = {
  readonly links: Map<string, TargetLink>;
  readonly addresses: Map<string, AddressState>;
  readonly routes: Map<string, RouteState>;
  readonly neighbours: Map<string, NeighbourState>;
  readonly fdb: Map<string, FdbState>;
  readonly sysctls: Map<SysctlKey, string>;
  /** undefined: no table of ours. */
  ruleset: Ruleset | undefined;
};

export type Ruleset = { readonly digest: string; readonly text: string };

export type Target = Map<string, TargetNamespace>;

export const targetNamespace = (target: Target, ns: string): TargetNamespace => {
  let found = target.get(ns);
  if (found === undefined) {
    found = {
      links: new Map(),
      addresses: new Map(),
      routes: new Map(),
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

export const wantRoute = (ns: TargetNamespace, route: RouteState): void => void ns.routes.set(route.destination, route);
export const wantNeighbour = (ns: TargetNamespace, n: NeighbourState): void =>
  void ns.neighbours.set(neighbourKey(n), n);
export const wantFdb = (ns: TargetNamespace, f: FdbState): void => void ns.fdb.set(fdbKey(f), f);
