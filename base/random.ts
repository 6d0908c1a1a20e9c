/** Randomness as an interface: seeded in the simulator, from the system outside of it. */
export type Random = {
  /** Integer in [0, below). */
  int(below: number): number;
  /** In [0, 1). */
  float(): number;
};

/**
 * sfc32 (Doty-Humphrey's "small fast counting" generator): its counter makes every cycle at least 2^32 long. The same seed
 * gives the same sequence everywhere; seeds are spread by a multiplicative hash, so neighbours have nothing in common.
 */
export const seededRandom = (seed: number): Random => {
  let a = Math.imul(seed ^ (seed >>> 16), 0x45d9f3b) | 0;
  let b = Math.imul(a ^ (a >>> 16), 0x45d9f3b) | 0;
  let c = b ^ seed ^ 0x9e3779b9;
  let counter = 1;
  const next = (): number => {
    const sum = (a + b + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (((c << 21) | (c >>> 11)) + sum) | 0;
    return sum >>> 0;
  };
  for (let i = 0; i < 16; i++) next();
  return { int: (below) => Math.floor((next() / 2 ** 32) * below), float: () => next() / 2 ** 32 };
};
