/**
 * Values pushed on one side, awaited one by one on the other. One reader. After `end` or `fail` what is in the queue is
 * still read, then the reader's loop ends, or throws.
 */
export type Queue<T> = AsyncIterable<T> & {
  push(value: T): void;
  end(): void;
  fail(error: unknown): void;
  readonly size: number;
  /** Resolves when fewer than `limit` values wait to be read, or nobody reads any more: for a writer that can wait. */
  room(limit: number): Promise<void>;
};

export const createQueue = <T>(): Queue<T> => {
  let values: T[] = [];
  let head = 0;
  let closed: { readonly error?: unknown } | undefined;
  let wake: (() => void) | undefined;
  let left = false;
  let writers: (() => void)[] = [];
  const close = (how: { readonly error?: unknown }) => {
    closed ??= how;
    wake?.();
    letWrite();
  };
  const letWrite = () => {
    const waiting = writers;
    writers = [];
    for (const go of waiting) go();
  };
  return {
    get size() {
      return values.length - head;
    },
    push(value) {
      if (closed || left) return;
      values.push(value);
      wake?.();
    },
    end: () => close({}),
    fail: (error) => close({ error }),
    async room(limit) {
      while (values.length - head >= limit && !closed && !left)
        await new Promise<void>((resolve) => writers.push(resolve));
    },
    async *[Symbol.asyncIterator]() {
      try {
        for (;;) {
          while (head < values.length) {
            const value = values[head++]!;
            if (writers.length > 0) letWrite();
            yield value;
          }
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
      } finally {
        left = true;
        values = [];
        head = 0;
        letWrite();
      }
    },
  };
};
