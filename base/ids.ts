import type { Random } from "#base/random.ts";

const ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz";

/** An id as Swarm's: 25 characters of base 36, about 129 bits. */
export const newId = (random: Random): string => {
  let id = "";
  for (let i = 0; i < 25; i++) id += ALPHABET[random.int(36)];
  return id;
};
