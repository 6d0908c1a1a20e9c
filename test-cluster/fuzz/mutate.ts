// Damage for decoders: valid inputs changed in the ways that break parsers, and sometimes bytes of no origin. Everything
// follows from the random numbers, so a seed repeats it.
import type { Random } from "#base/random.ts";

const BYTES = [0, 1, 7, 0x0a, 0x12, 0x7f, 0x80, 0xfe, 0xff];
const NUMBERS = [0, 1, 127, 128, 255, 256, 65_535, 65_536, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1];
/** Varints: of nothing, the largest, one that never ends. */
const RUNS = [
  Buffer.from([0x80, 0x00]),
  Buffer.from([0xff, 0xff, 0xff, 0xff, 0x0f]),
  Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]),
  Buffer.alloc(24, 0xff),
  Buffer.alloc(64, 0x0b),
];

const pick = <T>(random: Random, list: readonly T[]): T => list[random.int(list.length)]!;
const noise = (random: Random, length: number): Buffer => Buffer.from(Array.from({ length }, () => random.int(256)));
const at = (random: Random, bytes: Uint8Array): number => random.int(bytes.length + 1);

const replace = (bytes: Buffer, from: number, to: number, by: Uint8Array): Buffer =>
  Buffer.concat([bytes.subarray(0, from), by, bytes.subarray(to)]);

const change = (random: Random, bytes: Buffer, others: readonly Uint8Array[], words: readonly string[]): Buffer => {
  const from = at(random, bytes);
  const to = Math.min(bytes.length, from + 1 + random.int(random.int(8) === 0 ? 200 : 8));
  switch (random.int(words.length > 0 ? 13 : 11)) {
    case 0:
    case 1: {
      if (from === bytes.length) return bytes;
      const flipped = Buffer.from(bytes);
      flipped[from]! ^= 1 << random.int(8);
      return flipped;
    }
    case 2:
      return replace(bytes, from, Math.min(from + 1, bytes.length), Buffer.from([pick(random, BYTES)]));
    case 3:
      return replace(bytes, from, to, Buffer.alloc(0));
    case 4:
      return replace(bytes, from, from, noise(random, 1 + random.int(9)));
    case 5:
      return replace(bytes, from, from, bytes.subarray(from, to));
    case 6:
      return bytes.subarray(0, from);
    case 7: {
      const other = pick(random, others);
      const cut = at(random, other);
      return Buffer.concat([bytes.subarray(0, from), other.subarray(cut)]);
    }
    case 8:
      return replace(bytes, from, random.int(2) === 0 ? from : to, pick(random, RUNS));
    case 9: {
      const number = Buffer.alloc(4);
      const value = pick(random, NUMBERS);
      if (random.int(2) === 0) number.writeUInt32LE(value);
      else number.writeUInt32BE(value);
      return replace(bytes, from, Math.min(from + 4, bytes.length), number);
    }
    case 10:
      return replace(bytes, from, to, Buffer.alloc(to - from));
    default:
      return replace(bytes, from, random.int(2) === 0 ? from : to, Buffer.from(pick(random, words)));
  }
};

/** One input made from the samples. `words`: what texts of this kind are made of. */
export const mutate = (random: Random, samples: readonly Uint8Array[], words: readonly string[] = []): Buffer => {
  if (words.length > 0 && random.int(50) === 0) return Buffer.from(pick(random, words));
  if (random.int(50) === 0) return noise(random, random.int(random.int(4) === 0 ? 5000 : 100));
  let bytes = Buffer.from(pick(random, samples));
  for (let left = 1 + random.int(random.int(4) === 0 ? 20 : 4); left > 0; left--)
    bytes = Buffer.from(change(random, bytes, samples, words));
  return bytes;
};
