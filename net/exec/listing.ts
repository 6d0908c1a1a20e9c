// Our table as the kernel lists it: what carries our marks, the backends, and a digest of everything else.

import { isIP } from "node:net";
import { listTable } from "#net/kernel/nft.ts";
import { canonicalAddress } from "#net/model/cidr.ts";
import { digestHex } from "#net/model/digest.ts";
import type { Choices, Slots } from "#net/model/host-state.ts";
import { modulusOf } from "#net/plan/nat/choices.ts";

export type Listing = {
  readonly baseChains: readonly string[];
  readonly comments: readonly string[];
  /** undefined: the numbers of a choice's backends are not 0 to n - 1, one is there twice, or its rule draws from others. */
  readonly choices: Choices | undefined;
  /** Of all that is listed but the backends and the handles, which count what was ever written. */
  readonly digest: string;
};

type TableObject = {
  readonly chain?: { readonly name: string; readonly hook?: string };
  readonly rule?: { readonly chain: string; readonly comment?: string; readonly expr: readonly unknown[] };
  readonly map?: { readonly name: string; readonly elem?: readonly unknown[] };
};

/** undefined: there is no table of ours. */
export const listOurTable = (path: string | null): Listing | undefined => {
  const objects = listTable(path, "inet", "tswarm") as readonly TableObject[] | undefined;
  if (objects === undefined) return undefined;
  const baseChains: string[] = [];
  const comments: string[] = [];
  const chains = new Set<string>();
  for (const { chain, rule } of objects) {
    if (chain !== undefined) chains.add(chain.name);
    if (chain?.hook !== undefined) baseChains.push(chain.name);
    if (rule?.comment !== undefined) comments.push(rule.comment);
  }
  const choices = new Map<string, Slots>();
  let sound = true;
  for (const { map } of objects) {
    if (map === undefined || !chains.has(map.name)) continue;
    const slots = slotsOf(map.elem ?? []);
    sound &&= slots !== undefined;
    choices.set(map.name, slots ?? []);
  }
  const content = objects.map(({ map, rule, ...other }) => {
    if (map !== undefined && choices.has(map.name)) return { map: { ...map, elem: [] } };
    const slots = rule && choices.get(rule.chain);
    return rule === undefined ? { map, ...other } : { rule: slots === undefined ? rule : withoutModulus(rule, slots) };
  });
  const text = JSON.stringify(content, (key, value) => (key === "handle" ? undefined : value));
  return { baseChains, comments, choices: sound ? choices : undefined, digest: digestHex(text) };
};

/** undefined: not addresses with the keys 0 to n - 1, each once. */
const slotsOf = (elements: readonly unknown[]): Slots | undefined => {
  const slots: string[] = [];
  for (const element of elements) {
    const [slot, backend] = Array.isArray(element) ? element : [];
    if (!Number.isInteger(slot) || slot >= elements.length || isIP(backend) === 0) return undefined;
    slots[slot] = canonicalAddress(backend);
  }
  return new Set(slots).size === elements.length && !slots.includes(undefined as never) ? slots : undefined;
};

/** "numgen random mod n", whose n goes with the backends; with another n it stays, and is what no rule of ours has. */
const withoutModulus = (rule: NonNullable<TableObject["rule"]>, slots: Slots): unknown => {
  const modulus = modulusOf(slots);
  const plain = (key: string, value: unknown): unknown => (key === "mod" && value === modulus ? 0 : value);
  return JSON.parse(JSON.stringify(rule, plain));
};
