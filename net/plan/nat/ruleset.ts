// A ruleset is the whole content of our table `inet tswarm` in one namespace, replaced in one transaction; established
// connections go on, because their translation is in conntrack. Every base chain ends with a rule that carries a digest,
// so a dump shows whether the table is still the one that was written: a flush takes the rules with it. The digest is of
// everything but the backends, which are changed one by one and can be read from their maps.

import { digestHex } from "#net/model/digest.ts";
import { choiceRule, type PlacedChoice, renderMap } from "#net/plan/nat/choices.ts";
import type { Ruleset } from "#net/plan/target.ts";

export const TABLE = "inet tswarm";
const MARKER = "tswarm ";

export type Chain = {
  readonly name: string;
  /** "nat hook output priority -100"; absent: a chain that others jump to. All base chains have policy accept. */
  readonly hook?: string;
  readonly rules: readonly string[];
};

/** No chains: no table. `choices`: each has a chain and a map besides. */
export const makeRuleset = (chains: readonly Chain[], choices: readonly PlacedChoice[] = []): Ruleset | undefined => {
  if (chains.length === 0) return undefined;
  const digest = digestHex(JSON.stringify([chains, choices.map(({ slots: _, ...choice }) => choice)]));
  const chainsOfChoices = choices.map((choice) => ({ name: choice.name, rules: [choiceRule(choice)] }));
  const body = [
    ...choices.map(renderMap),
    ...[...chainsOfChoices, ...chains].map((chain) => renderChain(chain, digest)),
  ].join("");
  const backends = new Map(choices.map(({ name, slots }) => [name, slots]));
  return { digest, text: `table ${TABLE} {\n${body}}\n`, choices, backends };
};

/** Alone, or before a ruleset in the same transaction. Adding an existing table is no error, so this is valid without one. */
export const DELETE_TABLE = `add table ${TABLE}\ndelete table ${TABLE}\n`;

const renderChain = ({ name, hook, rules }: Chain, digest: string): string => {
  const lines =
    hook === undefined ? rules : [`type ${hook}; policy accept;`, ...rules, `accept comment "${MARKER}${digest}"`];
  return `  chain ${name} {\n${lines.map((line) => `    ${line}\n`).join("")}  }\n`;
};

/**
 * The digest that a dump of the table shows, from the names of its base chains and the comments of its rules; "damaged"
 * when a base chain lacks its marker.
 */
export const digestOfDump = (baseChains: readonly string[], comments: readonly string[]): string => {
  const digests = comments.filter((c) => c.startsWith(MARKER)).map((c) => c.slice(MARKER.length));
  const first = digests[0];
  const whole = first !== undefined && digests.length === baseChains.length && digests.every((d) => d === first);
  return whole ? first : "damaged";
};

/** An anonymous set. */
export const anyOf = (items: readonly string[]): string => `{ ${items.join(", ")} }`;
export const quoted = (names: readonly string[]): string[] => names.map((name) => `"${name}"`);
