// A second checker for the first one's tests, as dumb as can be: tries every order on a plain value.
import type { Operation } from "#test-cluster/linearizability/model.ts";

/** The state after the operation and what it answers. */
export type Apply<S, I, O> = (state: S, input: I) => { readonly state: S; readonly output: O };

const returnOf = ({ outcome }: Operation<unknown, unknown>): number =>
  outcome.kind === "returned" ? outcome.at : Number.POSITIVE_INFINITY;

/** Exponential: for some eight operations on one key. */
export const linearizableByBruteForce = <S, I, O>(
  initial: S,
  apply: Apply<S, I, O>,
  history: readonly Operation<I, O>[],
): boolean => {
  const tryFrom = (state: S, rest: readonly Operation<I, O>[]): boolean => {
    if (rest.every(({ outcome }) => outcome.kind === "unknown")) return true;
    return rest.some((operation) => {
      const others = rest.filter((other) => other !== operation);
      if (others.some((other) => returnOf(other) < operation.invoked)) return false;
      const { state: after, output } = apply(state, operation.input);
      const { outcome } = operation;
      const agrees = outcome.kind === "unknown" || JSON.stringify(outcome.output) === JSON.stringify(output);
      return agrees && tryFrom(after, others);
    });
  };
  return tryFrom(initial, history);
};
