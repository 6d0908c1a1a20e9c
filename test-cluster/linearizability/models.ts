// Objects that clients use: a register that may be changed by compare-and-set, and a list that grows at its end.
import type { Behaviour, Model, Operation } from "#test-cluster/linearizability/model.ts";

export type Value = string | number | null;
export type RegisterInput =
  | { readonly op: "read" }
  | { readonly op: "write"; readonly value: Value }
  /** Answers whether it was done. */
  | { readonly op: "cas"; readonly from: Value; readonly to: Value };
/** Of a read its value, of a compare-and-set whether it was done; a write has none. */
export type RegisterOutput = Value | boolean;

const outputOf = <O>({ outcome }: Operation<unknown, O>): O | undefined =>
  outcome.kind === "returned" ? outcome.output : undefined;

/** Numbers for values, in order of appearance. */
const numbering = () => {
  const known = new Map<unknown, number>();
  return (value: unknown): number => {
    const number = known.get(value);
    if (number !== undefined) return number;
    known.set(value, known.size);
    return known.size - 1;
  };
};

/**
 * A state is the value's number, doubled, plus 1 while the last change was one of unknown outcome. Such a change can wait until
 * somebody sees it: one that is written over at once was seen by nobody, and leaving it out explains the same answers. That
 * keeps many open outcomes from being tried in every order. A refused compare-and-set sees every value but the one it names.
 */
const registerBehaviour = (
  history: readonly Operation<RegisterInput, RegisterOutput>[],
): Behaviour<RegisterInput, RegisterOutput> => {
  const numberOf = numbering();
  const seen = new Set<unknown>();
  let refusals = 0;
  for (const operation of history) {
    const { input } = operation;
    const output = outputOf(operation);
    if (input.op === "read") seen.add(output);
    if (input.op === "cas" && output !== false) seen.add(input.from);
    if (input.op === "cas" && output === false) refusals++;
  }
  return {
    initial: 2 * numberOf(null),
    isInvisible: ({ input, outcome }) => {
      if (outcome.kind === "returned") return false;
      if (input.op === "read") return true;
      return refusals === 0 && !seen.has(input.op === "write" ? input.value : input.to);
    },
    step: (state, operation) => {
      const value = state >> 1;
      const { input, outcome } = operation;
      const open = outcome.kind === "unknown" ? 1 : 0;
      switch (input.op) {
        case "read":
          return numberOf(outputOf(operation)) === value ? 2 * value : -1;
        case "write":
          return (state & 1) === 1 ? -1 : 2 * numberOf(input.value) + open;
        case "cas": {
          const done = numberOf(input.from) === value;
          if (open === 1) return done ? 2 * numberOf(input.to) + 1 : -1;
          if (done !== outputOf(operation)) return -1;
          return done ? 2 * numberOf(input.to) : 2 * value;
        }
      }
    },
  };
};

const shown = (value: unknown): string => (value === null ? "nothing" : JSON.stringify(value));

const describeRegister = (operation: Operation<RegisterInput, RegisterOutput>): string => {
  const { input, outcome } = operation;
  const output = outputOf(operation);
  const unknown = outcome.kind === "unknown" ? " → unknown" : "";
  if (input.op === "read") return `read${unknown || ` → ${shown(output)}`}`;
  if (input.op === "write") return `write ${shown(input.value)}${unknown}`;
  return `cas ${shown(input.from)} to ${shown(input.to)}${unknown || (output === true ? " → done" : " → refused")}`;
};

/** Begins with null. */
export const compareAndSetModel: Model<RegisterInput, RegisterOutput> = {
  name: "register with compare-and-set",
  behaviour: registerBehaviour,
  describe: describeRegister,
};

type PlainInput = Extract<RegisterInput, { readonly op: "read" | "write" }>;
/** Begins with null. */
export const registerModel: Model<PlainInput, Value> = {
  name: "register",
  behaviour: registerBehaviour as (history: readonly Operation<PlainInput, Value>[]) => Behaviour<PlainInput, Value>,
  describe: describeRegister as (operation: Operation<PlainInput, Value>) => string,
};

export type AppendInput = { readonly op: "read" } | { readonly op: "append"; readonly value: string | number };
/** Of a read the whole list; an append has none. */
export type AppendOutput = readonly (string | number)[] | null;

const listOf = (operation: Operation<AppendInput, AppendOutput>): readonly (string | number)[] =>
  outputOf(operation) ?? [];

/**
 * A list only grows, so all that was read must be a beginning of the longest list read; that one tells the order of the
 * appends. A state is the length; beyond the longest list nobody looked, and the order does not matter.
 */
const appendBehaviour = (history: readonly Operation<AppendInput, AppendOutput>[]) => {
  let longest: readonly (string | number)[] = [];
  for (const operation of history) {
    const list = operation.input.op === "read" ? listOf(operation) : [];
    if (list.length > longest.length) longest = list;
  }
  const seen = new Set(longest);
  const behaviour: Behaviour<AppendInput, AppendOutput> = {
    initial: 0,
    isInvisible: ({ input, outcome }) => outcome.kind === "unknown" && (input.op === "read" || !seen.has(input.value)),
    step: (length, operation) => {
      const { input } = operation;
      if (input.op === "append") {
        if (length < longest.length) return longest[length] === input.value ? length + 1 : -1;
        return longest.length + 1;
      }
      const list = listOf(operation);
      return list.length === length && list.every((value, i) => value === longest[i]) ? length : -1;
    },
  };
  return behaviour;
};

/** Begins empty. */
export const appendModel: Model<AppendInput, AppendOutput> = {
  name: "list",
  behaviour: appendBehaviour,
  describe: (operation) => {
    const { input, outcome } = operation;
    const what = input.op === "read" ? "read" : `append ${shown(input.value)}`;
    if (outcome.kind === "unknown") return `${what} → unknown`;
    return input.op === "read" ? `${what} → [${listOf(operation).join(" ")}]` : what;
  },
};
