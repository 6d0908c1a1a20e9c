/**
 * Values pushed on one side, awaited one by one on the other. One reader. After `end` or `fail` what is in the queue is
 * still read, then the reader's loop ends, or throws.
 */
export type Queue<T> = AsyncIterable<T> & {
  push(value: T): void;
  end(): void;
  fail(error: unknown): void;
  readonly size: number;
};

export const createQueue = <T>(): Queue<T> => {
  let values: T[] = [];
  let head = 0;
  let closed: { readonly error?: unknown } | undefined;
  let wake: (() => void) | undefined;
  const close = (how: { readonly error?: unknown }) => {
    closed ??= how;
    wake?.();
  };
  return {
    get size() {
      return values.length - head;
    },
    push(value) {
      if (closed) return;
      values.push(value);
      wake?.();
    },
    end: () => close({}),
    fail: (error) => close({ error }),
    async *[Symbol.asyncIterator]() {
      for (;;) {
        while (head < values.length) yield values[head++]!;
        values = [];
        head = 0;
        if (closed) {
          if ("error" in closed) throw closed.error;
          return;
        }
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
        wake = undefined;
      }
    },
  };
};
