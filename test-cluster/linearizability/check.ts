// Whether a history of clients is linearizable: as if each operation had happened at one moment between its call and its
// return. Keys are objects of their own, so each is checked alone (Herlihy and Wing, 1990: linearizability is local).
import type { Model, Operation } from "#test-cluster/linearizability/model.ts";
import { type SearchResult, search } from "#test-cluster/linearizability/search.ts";

export type Verdict<I, O> =
  | { readonly kind: "ok"; readonly steps: number }
  /** `history`: a part of the key's history that has no order already; `report` shows it. */
  | {
      readonly kind: "violation";
      readonly key: string;
      readonly history: readonly Operation<I, O>[];
      readonly report: string;
    }
  /** The budget was too small: a failure of the test's set-up (too many clients or unknown outcomes on a key), no pass. */
  | { readonly kind: "undecided"; readonly key: string; readonly report: string };

export type CheckOptions = {
  /** Calls the search may look at for each key. Default: 5 million, some seconds. */
  readonly maxSteps?: number;
};

const MAX_STEPS = 5_000_000;

/** Of several keys that fail, the one with the shortest history is told. */
export const checkLinearizable = <I, O>(
  model: Model<I, O>,
  history: readonly Operation<I, O>[],
  { maxSteps = MAX_STEPS }: CheckOptions = {},
): Verdict<I, O> => {
  const byKey = Map.groupBy(history, (operation) => operation.key);
  const shortestFirst = [...byKey].sort(([, a], [, b]) => a.length - b.length);
  let steps = 0;
  let undecided: Verdict<I, O> | null = null;
  for (const [key, operations] of shortestFirst) {
    const result = searchKey(model, operations, maxSteps);
    steps += result.steps;
    if (result.kind === "violation") return explain(model, key, operations, maxSteps);
    if (result.kind === "undecided") {
      const report = `key ${key}: undecided after ${maxSteps} steps over ${operations.length} operations`;
      undecided ??= { kind: "undecided", key, report };
    }
  }
  return undecided ?? { kind: "ok", steps };
};

const visibleOf = <I, O>(model: Model<I, O>, operations: readonly Operation<I, O>[]) => {
  const behaviour = model.behaviour(operations);
  return { behaviour, visible: operations.filter((operation) => !behaviour.isInvisible(operation)) };
};

const searchKey = <I, O>(
  model: Model<I, O>,
  operations: readonly Operation<I, O>[],
  maxSteps: number,
): SearchResult => {
  const { behaviour, visible } = visibleOf(model, operations);
  return search(visible, behaviour, maxSteps);
};

const explain = <I, O>(
  model: Model<I, O>,
  key: string,
  operations: readonly Operation<I, O>[],
  maxSteps: number,
): Verdict<I, O> => {
  const fails = (part: readonly Operation<I, O>[]) => searchKey(model, part, maxSteps).kind === "violation";
  const history = withoutNeedlessReads(shortestBeginning(operations, fails), fails);
  return { kind: "violation", key, history, report: reportOf(model, key, operations.length, history, maxSteps) };
};

/** The history up to the first return at which it has no order: what returned later is open, what was called later is gone. */
const shortestBeginning = <I, O>(
  operations: readonly Operation<I, O>[],
  fails: (part: readonly Operation<I, O>[]) => boolean,
): Operation<I, O>[] => {
  const ends = operations.flatMap(({ outcome }) => (outcome.kind === "returned" ? [outcome.at] : []));
  ends.sort((a, b) => a - b);
  const until = (end: number): Operation<I, O>[] =>
    operations
      .filter((operation) => operation.invoked <= end)
      .map((operation) =>
        operation.outcome.kind === "returned" && operation.outcome.at > end
          ? { ...operation, outcome: { kind: "unknown" } }
          : operation,
      );
  let low = 0;
  let high = ends.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (fails(until(ends[middle]!))) high = middle;
    else low = middle + 1;
  }
  return until(ends[low]!);
};

/** Operations that changed nothing and whose absence still leaves a failure. Without a write a failure would prove nothing. */
const withoutNeedlessReads = <I, O>(
  operations: readonly Operation<I, O>[],
  fails: (part: readonly Operation<I, O>[]) => boolean,
): readonly Operation<I, O>[] => {
  let rest = operations;
  for (const operation of operations) {
    if ((operation.input as { op?: unknown }).op !== "read") continue;
    const without = rest.filter((other) => other !== operation);
    if (fails(without)) rest = without;
  }
  return rest;
};

const reportOf = <I, O>(
  model: Model<I, O>,
  key: string,
  total: number,
  history: readonly Operation<I, O>[],
  maxSteps: number,
): string => {
  const { behaviour, visible } = visibleOf(model, history);
  const rows = [...visible].sort((a, b) => a.invoked - b.invoked).map((operation) => row(model, operation));
  const result = search(visible, behaviour, maxSteps);
  const lines = [
    `${model.name} ${key}: no order explains these ${visible.length} of its ${total} operations`,
    ...table([["client", "called", "returned", "operation"], ...rows]),
  ];
  if (result.kind === "violation") {
    const told = (indexes: readonly number[]) => indexes.map((i) => model.describe(visible[i]!)).join(", ");
    const shown = result.longest.length > 12 ? ["…"] : [];
    lines.push(`as far as it goes: ${[...shown, told(result.longest.slice(-12))].join(" ")}`);
    lines.push(`then none of these can come next: ${told(result.stuck)}`);
  }
  return lines.join("\n");
};

const row = <I, O>(model: Model<I, O>, operation: Operation<I, O>): string[] => {
  const { client, invoked, outcome } = operation;
  const returned = outcome.kind === "returned" ? String(outcome.at) : "?";
  return [String(client), String(invoked), returned, model.describe(operation)];
};

const table = (rows: readonly (readonly string[])[]): string[] => {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((cells) => cells[column]!.length)));
  return rows.map(
    (cells) =>
      `  ${cells
        .map((cell, i) => cell.padEnd(widths[i]!))
        .join("  ")
        .trimEnd()}`,
  );
};
