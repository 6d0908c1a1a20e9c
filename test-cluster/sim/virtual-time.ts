// Simulated time: a queue of events in one process. Nothing here waits for a real timer.
//
// Each event belongs to an actor (one life of a member, or the world). All promises that an event settles run to their end
// before the next event, and what they begin belongs to the same actor, so that a dead or paused one can be held back.
import { EventHeap, type QueuedEvent } from "#test-cluster/sim/event-heap.ts";

export type Actor = { readonly name: string; dead: boolean; pausedUntil: number };

/** What one turn of the event loop takes, in ms. */
const TURN_MS = 0.01;
/** How often what waits for a paused actor looks again. */
const PAUSE_LOOK_MS = 25;
const realImmediate = globalThis.setImmediate;

/**
 * Runs all pending promise callbacks now, as Node does between two callbacks of its event loop. A real turn of that loop for
 * each event would cost more than the code under test. Not from within a promise callback: there it does nothing.
 */
const settlePromises: () => void = (process as unknown as { _tickCallback(): void })._tickCallback;

export class VirtualTime {
  /** ms since the start. */
  now = 0;
  readonly world: Actor = { name: "world", dead: false, pausedUntil: 0 };
  /** Whose event runs now. */
  current: Actor = this.world;
  #heap = new EventHeap();
  #running = false;

  /** Calls `run` after `ms` unless the actor is dead by then; later when it is paused. Returns the cancellation. */
  after(ms: number, actor: Actor, run: () => void): () => void {
    const event: QueuedEvent = { time: this.now + ms, order: 0, actor, run };
    this.#heap.push(event);
    return () => {
      event.run = null;
    };
  }

  /** Goes on as an event of `actor`, now, or when it is not paused any more. To be called last in an event of the world. */
  as(actor: Actor, run: () => void): void {
    if (actor.dead) return;
    if (!this.#running || actor.pausedUntil > this.now) {
      this.after(0, actor, run);
      return;
    }
    this.current = actor;
    run();
  }

  /** A promise that resolves after `ms` of the actor's life. */
  wait(ms: number, actor: Actor): Promise<void> {
    return new Promise((resolve) => this.after(ms, actor, resolve));
  }

  /** Runs events up to `end` (ms) or until `step`, called after each event with its actor, returns true. */
  run(end: number, step: (actor: Actor) => boolean): Promise<void> {
    // Out of all promise callbacks, so that they can be run between events.
    return new Promise((resolve, reject) => {
      realImmediate(() => {
        try {
          this.#run(end, step);
          resolve();
        } catch (error) {
          reject(error);
        }
      });
    });
  }

  #run(end: number, step: (actor: Actor) => boolean): void {
    globalThis.setImmediate = ((callback: (...args: unknown[]) => void, ...args: unknown[]) =>
      this.after(TURN_MS, this.current, () => callback(...args))) as unknown as typeof setImmediate;
    this.#running = true;
    try {
      settlePromises();
      for (let event = this.#heap.popUntil(end); event !== null; event = this.#heap.popUntil(end)) {
        const { actor, run } = event;
        if (run === null || actor.dead) continue;
        this.now = Math.max(this.now, event.time);
        if (actor.pausedUntil > this.now) {
          // Not until the end at once: the pause may be ended earlier.
          event.time = Math.min(actor.pausedUntil, this.now + PAUSE_LOOK_MS);
          this.#heap.push(event);
          continue;
        }
        this.current = actor;
        run();
        const ran = this.current;
        // The world settles no promises.
        if (ran !== this.world) settlePromises();
        this.current = this.world;
        if (step(ran)) return;
      }
      this.now = end;
    } finally {
      this.#running = false;
      this.current = this.world;
      globalThis.setImmediate = realImmediate;
    }
  }
}
