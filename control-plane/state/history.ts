// The changes of the last while, for watchers that were cut off. They are references to objects, most of which exist anyway.
import type { StateBatch } from "./types.ts";

/** So many events are kept, of as many commands as that is. */
export const KEPT_EVENTS = 10_000;

export class History {
  #batches: StateBatch[] = [];
  #events = 0;
  /** All that came after this index is here. */
  #from: number;

  constructor(from: number) {
    this.#from = from;
  }

  add(batch: StateBatch): void {
    this.#batches.push(batch);
    this.#events += batch.events.length;
    if (this.#events > 2 * KEPT_EVENTS) this.#forget();
  }

  /** Half of them at once: to take away each alone would move all others each time. */
  #forget(): void {
    let count = 0;
    for (; this.#events > KEPT_EVENTS; count++) this.#events -= this.#batches[count]!.events.length;
    this.#from = this.#batches[count - 1]!.index;
    this.#batches = this.#batches.slice(count);
  }

  since(index: number): readonly StateBatch[] | undefined {
    if (index < this.#from) return undefined;
    return this.#batches.slice(this.#batches.findLastIndex((batch) => batch.index <= index) + 1);
  }
}
