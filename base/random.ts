/** Randomness as an interface: seeded in the simulator, from the system outside of it. */
export type Random = {
  /** Integer in [0, below). */
  int(below: number): number;
  /** In [0, 1). */
  float(): number;
};

/** xorshift128+ on 32-bit halves; the same seed gives the same sequence everywhere. */
export const seededRandom = (seed: number): Random => {
  let a = (seed ^ 0x9e3779b9) >>> 0 || 1;
  let b = Math.imul(seed ^ 0x85ebca6b, 0xc2b2ae35) >>> 0 || 2;
  const next = (): number => {
    let x = a;
    const y = b;
    a = y;
    x ^= x << 23;
    x ^= x >>> 17;
    x ^= y ^ (y >>> 26);
    b = x >>> 0;
    return (b + y) >>> 0;
  };
  for (let i = 0; i < 16; i++) next();
  return { int: (below) => Math.floor((next() / 2 ** 32) * below), float: () => next() / 2 ** 32 };
};
