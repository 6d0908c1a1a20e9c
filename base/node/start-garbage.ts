// Memory that starting took and daily life does not need: modules' top levels, parsed files, a young generation that grew.
// V8 would keep it, because an idle process allocates too little to make it collect.
import { getHeapStatistics, setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import type { Clock } from "#base/clock.ts";

/** Long enough for a manager to have joined its group, short enough that nobody waits for it. */
const DELAY_MS = 4_000;
/** Collecting 15 MiB takes some 20 ms. A process with more is busy enough to be collected without us. */
const MAX_HEAP_BYTES = 64 << 20;

/** Call when the process serves: once, a little later, unused memory goes back to the system. */
export const collectStartGarbage = (clock: Clock): void => {
  clock.after(DELAY_MS, () => {
    if (getHeapStatistics().used_heap_size > MAX_HEAP_BYTES) return;
    setFlagsFromString("--expose-gc");
    const collect = runInNewContext("gc") as (options: { type: "major"; flavor: "last-resort" }) => void;
    setFlagsFromString("--no-expose-gc");
    collect({ type: "major", flavor: "last-resort" });
  });
};
