// What a history and a model of an object are.

/**
 * One call of a client. Times are of any one clock (a counter of events will do). An outcome nobody knows (a timeout, a lost
 * connection) stays open: the call may have taken effect at any time after `invoked`, or never. A call that certainly did not
 * take effect does not belong into a history.
 */
export type Operation<I, O> = {
  readonly client: string | number;
  readonly key: string;
  readonly input: I;
  readonly invoked: number;
  readonly outcome:
    | { readonly kind: "returned"; readonly at: number; readonly output: O }
    | { readonly kind: "unknown" };
};

/** What an object does, for the history of one key. A state is a number, so that the search can compare states cheaply. */
export type Behaviour<I, O> = {
  readonly initial: number;
  /** Operations of unknown outcome that can't be seen by anybody: the search leaves them out. */
  isInvisible(operation: Operation<I, O>): boolean;
  /** The state after the operation with its outcome; -1: impossible in `state`. */
  step(state: number, operation: Operation<I, O>): number;
};

export type Model<I, O> = {
  readonly name: string;
  behaviour(history: readonly Operation<I, O>[]): Behaviour<I, O>;
  /** As a reader understands it, such as `write 3` or `read → 3`. */
  describe(operation: Operation<I, O>): string;
};
