// How fast this member's disk is: the last times from handing records to the log until they were on the medium.

const KEPT = 1000;

export class SyncTimes {
  #times = new Float64Array(KEPT);
  #count = 0;

  add(ms: number): void {
    this.#times[this.#count++ % KEPT] = ms;
  }

  /** ms of the last 1,000 syncs; null before the first. */
  get summary(): { readonly p50: number; readonly p99: number; readonly max: number } | null {
    if (this.#count === 0) return null;
    const sorted = this.#times.slice(0, Math.min(this.#count, KEPT)).sort();
    const at = (share: number) => sorted[Math.floor((sorted.length - 1) * share)]!;
    return { p50: at(0.5), p99: at(0.99), max: at(1) };
  }
}
