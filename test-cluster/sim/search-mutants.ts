// Looks for the first seed that finds each mutant: with the faults that the seed draws, and if that is not enough, with those
// that the mutant needs.
import { runMutant } from "#test-cluster/sim/fleet.ts";
import type { Mutant } from "#test-cluster/sim/mutants/mutant.ts";

export type SearchOptions = { readonly seeds: number; readonly seconds: number; readonly jobs: number };

const KILL_AFTER_MS = 30 * 60_000;

/** Prints a line for each. Returns whether all were found, or have a script that finds them. */
export const searchMutants = async (mutants: readonly Mutant[], options: SearchOptions): Promise<boolean> => {
  const waiting = [...mutants];
  let ok = true;
  const serve = async () => {
    for (let mutant = waiting.shift(); mutant !== undefined; mutant = waiting.shift()) {
      const found = await searchOne(mutant, options);
      ok &&= found.ok;
      console.log(`| ${mutant.name} | ${found.text} |`);
    }
  };
  await Promise.all(Array.from({ length: options.jobs }, serve));
  return ok;
};

const searchOne = async (
  { name, faults, script }: Mutant,
  { seeds, seconds }: SearchOptions,
): Promise<{ ok: boolean; text: string }> => {
  for (const aimed of faults === undefined ? [false] : [true, false]) {
    const order = {
      first: 1,
      count: aimed ? Math.min(seeds, 200) : seeds,
      seconds,
      ...(aimed && faults && { faults }),
    };
    const { failure, totals } = await runMutant(name, order, KILL_AFTER_MS);
    if (failure === null) continue;
    const how = aimed ? ", aimed faults" : "";
    return { ok: true, text: `${failure.property} | ${totals.seeds}${how} | ${(totals.cpuMs / 1000).toFixed(1)} s` };
  }
  return script === undefined
    ? { ok: false, text: `NOT FOUND | in ${seeds} | ` }
    : { ok: true, text: `script ${script} | not in ${seeds} | ` };
};
