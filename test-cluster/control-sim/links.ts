// Which hosts reach each other. A cut holds back what is on its way, as TCP does: it arrives when the cut has ended.
import type { Random } from "#base/random.ts";
import { between, chance } from "#test-cluster/sim/draw.ts";
import type { Actor, VirtualTime } from "#test-cluster/sim/virtual-time.ts";

export type LinkMix = { readonly delayMs: number; readonly lateRate: number; readonly lateMs: number };

export class Links {
  readonly #time: VirtualTime;
  readonly #random: Random;
  readonly #mix: LinkMix;
  /** `from>to`, with how many faults cut it now. */
  readonly #cuts = new Map<string, number>();
  readonly #directions = new Map<string, Set<Direction>>();

  constructor(time: VirtualTime, random: Random, mix: LinkMix) {
    this.#time = time;
    this.#random = random;
    this.#mix = mix;
  }

  passes(from: string, to: string): boolean {
    return from === to || (this.#cuts.get(`${from}>${to}`) ?? 0) === 0;
  }

  /** Returns the mending. */
  cut(from: string, to: string): () => void {
    const key = `${from}>${to}`;
    this.#cuts.set(key, (this.#cuts.get(key) ?? 0) + 1);
    let mended = false;
    return () => {
      if (mended) return;
      mended = true;
      this.#cuts.set(key, this.#cuts.get(key)! - 1);
      if (!this.passes(from, to)) return;
      for (const direction of this.#directions.get(key) ?? []) direction.flush();
    };
  }

  /** ms of one way now. */
  delay(from: string, to: string): number {
    if (from === to) return 0.05;
    const { delayMs, lateRate, lateMs } = this.#mix;
    const late = chance(this.#random, lateRate) ? this.#random.float() * lateMs : 0;
    return delayMs * between(this.#random, 0.3, 1.5) + late;
  }

  /** One direction of a connection: what is sent arrives in order. */
  direction(from: string, to: string, receiver: Actor): Direction {
    const key = `${from}>${to}`;
    const direction = new Direction(this.#time, this, from, to, receiver, () =>
      this.#directions.get(key)?.delete(direction),
    );
    let all = this.#directions.get(key);
    if (all === undefined) this.#directions.set(key, (all = new Set()));
    all.add(direction);
    return direction;
  }
}

export class Direction {
  readonly close: () => void;
  readonly #time: VirtualTime;
  readonly #links: Links;
  readonly #from: string;
  readonly #to: string;
  readonly #receiver: Actor;
  #onTheWay: { readonly at: number; readonly deliver: () => void }[] = [];
  /** Arrived; a paused receiver reads it later. */
  #arrived: (() => void)[] = [];
  #last = 0;

  constructor(time: VirtualTime, links: Links, from: string, to: string, receiver: Actor, close: () => void) {
    this.#time = time;
    this.#links = links;
    this.#from = from;
    this.#to = to;
    this.#receiver = receiver;
    this.close = close;
  }

  send(deliver: () => void): void {
    const time = this.#time;
    const at = Math.max(time.now + this.#links.delay(this.#from, this.#to), this.#last);
    this.#last = at;
    this.#onTheWay.push({ at, deliver });
    time.after(at - time.now, time.world, () => this.flush());
  }

  flush(): void {
    const time = this.#time;
    while (this.#onTheWay.length > 0 && this.#onTheWay[0]!.at <= time.now && this.#links.passes(this.#from, this.#to)) {
      this.#arrived.push(this.#onTheWay.shift()!.deliver);
      time.after(0, this.#receiver, () => this.#arrived.shift()?.());
    }
  }
}
