// A number for all objects together, kept by differences, by which managers tell whether their states have parted. An object
// counts with its table, id and version. The version is the index of the log entry that wrote it, so two states with equal
// numbers were written by the same entries. It is no protection against an attacker.

/** Two sums modulo 2^32: an object that is taken away leaves what was there before it came. */
export class Digest {
  #low = 0;
  #high = 0;

  add(table: string, id: string, version: number): void {
    this.#change(table, id, version, 1);
  }

  remove(table: string, id: string, version: number): void {
    this.#change(table, id, version, -1);
  }

  #change(table: string, id: string, version: number, sign: 1 | -1): void {
    let a = 0x811c9dc5;
    let b = 0x41c6ce57;
    const mix = (value: number) => {
      a = Math.imul(a ^ value, 0x01000193);
      b = Math.imul(b ^ value, 0x5bd1e995) ^ (b >>> 15);
    };
    for (const text of [table, id]) {
      for (let i = 0; i < text.length; i++) mix(text.charCodeAt(i));
      mix(text.length);
    }
    mix(version % 2 ** 32);
    mix(Math.floor(version / 2 ** 32));
    this.#low = (this.#low + sign * (Math.imul(a ^ (a >>> 16), 0x85ebca6b) >>> 0)) >>> 0;
    this.#high = (this.#high + sign * (Math.imul(b ^ (b >>> 13), 0xc2b2ae35) >>> 0)) >>> 0;
  }

  toString(): string {
    return [this.#high, this.#low].map((lane) => lane.toString(16).padStart(8, "0")).join("");
  }
}

export type Checkpoint = { readonly index: number; readonly digest: string };

/** Managers are never at the same index when they are asked, so each remembers what it had at these. */
const EVERY = 64;
/** Those of a manager that is far behind can't be compared: it is known to be behind. */
const KEPT = 64;

export class Checkpoints {
  #last: number;
  #kept: Checkpoint[] = [];

  /** `from`: the index of the state as it is now. */
  constructor(from: number) {
    this.#last = from;
  }

  /** Before the command of that index is applied. What entries between two commands leave alone is as it was. */
  passing(index: number, digest: Digest): void {
    const reached = Math.floor((index - 1) / EVERY) * EVERY;
    if (reached > this.#last) this.#keep({ index: reached, digest: digest.toString() });
    this.#last = index - 1;
  }

  #keep(checkpoint: Checkpoint): void {
    this.#kept.push(checkpoint);
    if (this.#kept.length > KEPT) this.#kept.shift();
  }

  list(): readonly Checkpoint[] {
    return this.#kept;
  }
}
