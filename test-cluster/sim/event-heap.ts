// Events by time; those of the same time in the order they were pushed.
import type { Actor } from "#test-cluster/sim/virtual-time.ts";

/** `run` null: cancelled. `order` is set by the heap. */
export type QueuedEvent = { time: number; order: number; readonly actor: Actor; run: (() => void) | null };

const before = (a: QueuedEvent, b: QueuedEvent): boolean => a.time < b.time || (a.time === b.time && a.order < b.order);

export class EventHeap {
  #events: QueuedEvent[] = [];
  #pushed = 0;

  push(event: QueuedEvent): void {
    event.order = this.#pushed++;
    const events = this.#events;
    let at = events.length;
    events.push(event);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (before(events[parent]!, event)) break;
      events[at] = events[parent]!;
      at = parent;
    }
    events[at] = event;
  }

  /** The first event if it is not later than `end`. */
  popUntil(end: number): QueuedEvent | null {
    const events = this.#events;
    const first = events[0];
    if (first === undefined || first.time > end) return null;
    const last = events.pop()!;
    if (events.length > 0) this.#sink(last);
    return first;
  }

  #sink(event: QueuedEvent): void {
    const events = this.#events;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= events.length) break;
      if (child + 1 < events.length && before(events[child + 1]!, events[child]!)) child++;
      if (before(event, events[child]!)) break;
      events[at] = events[child]!;
      at = child;
    }
    events[at] = event;
  }
}
