// Where packets to an address or port go: to one of its backends at random. The backends are the elements of a named map with
// the numbers 0 to n - 1 as keys, and a chain of the same name has the one rule that draws one of them. So a backend that comes
// or goes changes an element or two and that rule, in one small transaction, whatever else the table has.
//
// Which backend has which number does not matter: it is chosen so that little changes, and two tables are alike when the
// backends are the same.

import type { Choices, Slots } from "#net/model/host-state.ts";
import type { Ruleset } from "#net/plan/target.ts";

export type Choice = {
  /** Of the chain and of the map. */
  readonly name: string;
  readonly family: 4 | 6;
  /** Absent: the port stays. */
  readonly port?: { readonly protocol: "tcp" | "udp" | "sctp"; readonly target: number };
};

/** Where the backends of the choice with that name are in a table that exists. */
export type Placed = (name: string) => Slots;
export const nowhere: Placed = () => [];

export type PlacedChoice = Choice & { readonly slots: Slots };

/** From one arrangement of a choice's backends to another one. */
export type ChoiceChange = { readonly choice: Choice; readonly from: Slots; readonly to: Slots };
export type ChoiceChanges = { readonly changes: readonly ChoiceChange[]; readonly after: Choices };

/** As in `have` (the same object when nothing changes), with as few changes as possible, so that they are just `backends`. */
export const arrange = (have: Slots, backends: readonly string[]): Slots => {
  const wanted = new Set(backends);
  const added = new Set(backends);
  for (const backend of have) added.delete(backend);
  if (added.size === 0 && wanted.size === have.length) return have;
  const slots: (string | undefined)[] = have.map((backend) => (wanted.has(backend) ? backend : undefined));
  const coming = [...added];
  for (let i = 0; i < slots.length; i++) {
    while (slots.length > i && slots.at(-1) === undefined && coming.length === 0) slots.pop();
    if (i < slots.length) slots[i] ??= coming.shift() ?? slots.pop();
  }
  return [...(slots as string[]), ...coming];
};

/** The rule draws from one slot at least: there is no choice from none, and a slot that is not there ends it as well. */
export const modulusOf = (slots: Slots): number => Math.max(slots.length, 1);

/** The names say what a set of them is for; the text of the map does not depend on the number of its elements. */
export const renderMap = ({ name, family, slots }: PlacedChoice): string => {
  const lines = [`typeof numgen random mod 1 : ${ip(family)} daddr`];
  if (slots.length > 0) lines.push(`elements = { ${slots.map((backend, i) => `${i} : ${backend}`).join(", ")} }`);
  return `  map ${name} {\n${lines.map((line) => `    ${line}\n`).join("")}  }\n`;
};

export const choiceRule = ({ name, family, port, slots }: PlacedChoice): string => {
  const draw = `dnat ${ip(family)} to numgen random mod ${modulusOf(slots)} map @${name}`;
  return port === undefined ? draw : `meta l4proto ${port.protocol} ${draw}:${port.target}`;
};

const ip = (family: 4 | 6): string => (family === 4 ? "ip" : "ip6");

/** Changes between two arrangements in the kernel and intent are the same for all namespaces that have the same: made once. */
const known = new WeakMap<Choices, WeakMap<Ruleset, ChoiceChanges>>();

/** For a table that differs from the ruleset in its backends only. */
export const choiceChanges = (have: Choices, want: Ruleset): ChoiceChanges => {
  let ofHave = known.get(have);
  if (ofHave === undefined) known.set(have, (ofHave = new WeakMap()));
  let found = ofHave.get(want);
  if (found === undefined) ofHave.set(want, (found = compare(have, want)));
  return found;
};

const NONE: Slots = [];

const compare = (have: Choices, want: Ruleset): ChoiceChanges => {
  const changes: ChoiceChange[] = [];
  const after = new Map<string, Slots>();
  for (const { slots, ...choice } of want.choices) {
    const from = have.get(choice.name) ?? NONE;
    const to = arrange(from, slots);
    if (to !== from) changes.push({ choice, from, to });
    after.set(choice.name, to);
  }
  // Then all namespaces that came to the same arrangement have the same object, and their next change is one.
  const asWanted = want.choices.every(({ name, slots }) => sameSlots(after.get(name)!, slots));
  return { changes, after: asWanted ? want.backends : after };
};

/** What comes and what goes, whatever moves. */
export const backendsOf = ({ from, to }: ChoiceChange): { readonly added: Slots; readonly removed: Slots } => {
  const [before, after] = [new Set(from), new Set(to)];
  return { added: to.filter((b) => !before.has(b)), removed: from.filter((b) => !after.has(b)) };
};

export const sameSlots = (a: Slots, b: Slots): boolean =>
  a === b || (a.length === b.length && a.every((backend, i) => backend === b[i]));
