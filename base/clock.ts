/** Time as an interface, so that the simulator can own it. Monotonic unless said otherwise; milliseconds. */
export type Clock = {
  /** Wall clock, ms since the epoch. */
  now(): number;
  /** Monotonic, ms. */
  monotonic(): number;
  /** Calls back once after `ms`; the returned function cancels. */
  after(ms: number, callback: () => void): () => void;
};
