// Which links a partition cuts, in which direction.
import type { Random } from "#base/random.ts";
import { chance, pick } from "#test-cluster/sim/draw.ts";

export const PARTITIONS = [
  "isolate",
  "halves",
  "minority",
  "deaf",
  "mute",
  "link",
  "one-way",
  "bridge",
  "ring",
  "one-way ring",
  "half deaf",
  "everybody",
] as const;
export type Partition = (typeof PARTITIONS)[number];

/** `victim` is in the middle of what happens. */
export const cutBy = (
  kind: Partition,
  ids: readonly number[],
  victim: number,
  random: Random,
): ((from: number, to: number) => boolean) => {
  const other = pick(random, ids);
  const side = new Set(ids.filter((id) => id === victim || chance(random, 0.4)));
  const few = new Set([victim]);
  // The victim and as many others as still are no majority.
  for (const id of ids) if (few.size < (ids.length - 1) >> 1) few.add(id);
  const place = (id: number) => ids.indexOf(id);
  const follows = (from: number, to: number) => (place(from) + 1) % ids.length === place(to);
  switch (kind) {
    case "isolate":
      return (from, to) => from === victim || to === victim;
    case "halves":
      return (from, to) => side.has(from) !== side.has(to);
    case "minority":
      return (from, to) => few.has(from) !== few.has(to);
    case "deaf":
      return (_from, to) => to === victim;
    case "mute":
      return (from) => from === victim;
    case "link":
      return (from, to) => (from === victim && to === other) || (from === other && to === victim);
    case "one-way":
      return (from, to) => from === victim && to === other;
    case "bridge":
      // The victim reaches all, the others only it.
      return (from, to) => from !== victim && to !== victim;
    case "ring":
      return (from, to) => !follows(from, to) && !follows(to, from);
    case "one-way ring":
      return (from, to) => !follows(from, to);
    case "half deaf":
      // Some hear nothing from the others, but are heard: the full omission of one direction.
      return (from, to) => !side.has(from) && side.has(to);
    case "everybody":
      return () => true;
  }
};
