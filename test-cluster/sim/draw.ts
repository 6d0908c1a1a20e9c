// Draws from a seeded generator.
import { type Random, seededRandom } from "#base/random.ts";

export const chance = (random: Random, probability: number): boolean => random.float() < probability;

export const pick = <T>(random: Random, from: readonly T[]): T => from[random.int(from.length)]!;

export const between = (random: Random, from: number, to: number): number => from + random.float() * (to - from);

/** Waiting time of a memoryless process with this mean. */
export const exponential = (random: Random, mean: number): number => -Math.log(1 - random.float()) * mean;

/** A generator of its own, so that more draws in one place don't shift those of another. */
export const fork = (random: Random): Random => seededRandom(random.int(2 ** 31));
