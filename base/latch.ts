/**
 * Something that happens once, and that many short waits give up for. Unlike Promise.race with one promise that lives as
 * long as a stream, which keeps every value that ever won against it, nothing is held once a wait is over.
 */
export type Latch = {
  readonly isOpen: () => boolean;
  open(): void;
  /** The value, or undefined when the latch opens before. */
  orOpen<T>(value: Promise<T>): Promise<T | undefined>;
};

export const createLatch = (): Latch => {
  let opened = false;
  const waiting = new Set<() => void>();
  return {
    isOpen: () => opened,
    open() {
      opened = true;
      for (const go of waiting) go();
      waiting.clear();
    },
    orOpen: (value) =>
      new Promise((resolve, reject) => {
        const go = () => resolve(undefined);
        if (opened) go();
        else waiting.add(go);
        value.then(
          (v) => {
            waiting.delete(go);
            resolve(v);
          },
          (error) => {
            waiting.delete(go);
            reject(error);
          },
        );
      }),
  };
};
