// One change of the kernel. Names and values only, never file descriptors or indexes, so that a plan can be printed,
// compared, and carried out later or elsewhere. Every op names the namespace it acts in; "" is the host's.

import type { Choices, RouteState, RuleState, UpperState, VxlanState } from "#net/model/host-state.ts";
import type { ChoiceChange } from "#net/plan/nat/choices.ts";

export type NewLink =
  | { readonly kind: "bridge"; readonly mac: string; readonly mtuBytes: number }
  | {
      readonly kind: "veth";
      readonly mtuBytes: number;
      readonly mac: string;
      readonly master: string;
      /** The inner end is made in its namespace at once: moving it later costs 100 times as much. */
      readonly peer: { readonly ns: string; readonly name: string; readonly mac: string };
    }
  /** Its UDP socket is in the host's namespace, whatever namespace the device is in. */
  | {
      readonly kind: "vxlan";
      readonly mtuBytes: number;
      readonly mac: string;
      readonly master: string;
      readonly vxlan: VxlanState;
    }
  | {
      readonly kind: "macvlan" | "ipvlan" | "vlan";
      readonly mtuBytes: number;
      readonly mac: string;
      /** Its lower link is in the host's namespace. */
      readonly upper: UpperState;
    };

export type LinkChange = {
  readonly mtuBytes?: number;
  readonly mac?: string;
  readonly alias?: string;
  readonly master?: string;
  readonly isolated?: boolean;
  readonly hairpin?: boolean;
  readonly noBroadcast?: boolean;
};

export type NetOp =
  | { readonly op: "netns-add"; readonly ns: string }
  /** Its links go with it. */
  | { readonly op: "netns-del"; readonly ns: string }
  | { readonly op: "sysctl-set"; readonly ns: string; readonly key: string; readonly value: string }
  | { readonly op: "link-add"; readonly ns: string; readonly name: string; readonly link: NewLink }
  | { readonly op: "link-del"; readonly ns: string; readonly name: string }
  | { readonly op: "link-set"; readonly ns: string; readonly name: string; readonly change: LinkChange }
  | { readonly op: "link-up"; readonly ns: string; readonly name: string }
  | { readonly op: "addr-add"; readonly ns: string; readonly link: string; readonly address: string }
  | { readonly op: "addr-del"; readonly ns: string; readonly link: string; readonly address: string }
  /** Adds or replaces. */
  | ({ readonly op: "route-set"; readonly ns: string } & RouteState)
  | ({ readonly op: "route-del"; readonly ns: string } & RouteState)
  | ({ readonly op: "rule-add"; readonly ns: string } & RuleState)
  | ({ readonly op: "rule-del"; readonly ns: string } & RuleState)
  /** Adds or replaces a permanent entry. */
  | { readonly op: "neigh-set"; readonly ns: string; readonly link: string; readonly ip: string; readonly mac: string }
  | { readonly op: "neigh-del"; readonly ns: string; readonly link: string; readonly ip: string; readonly mac: string }
  /** Adds or replaces the VTEP behind a MAC. */
  | { readonly op: "fdb-set"; readonly ns: string; readonly link: string; readonly mac: string; readonly vtep: string }
  | { readonly op: "fdb-del"; readonly ns: string; readonly link: string; readonly mac: string; readonly vtep: string }
  /**
   * Our table as a whole, in one transaction. `replaces`: there is one. Only then is it deleted first, for the kernel
   * frees what was deleted after an RCU grace period that somebody has to wait for.
   */
  | {
      readonly op: "nft-set";
      readonly ns: string;
      readonly digest: string;
      readonly ruleset: string;
      readonly backends: Choices;
      readonly replaces: boolean;
    }
  /** Backends in our table, in one transaction that changes nothing else. `after`: all that it has then. */
  | {
      readonly op: "nft-choices";
      readonly ns: string;
      readonly changes: readonly ChoiceChange[];
      readonly after: Choices;
    }
  | { readonly op: "nft-del"; readonly ns: string };

export type OpName = NetOp["op"];
