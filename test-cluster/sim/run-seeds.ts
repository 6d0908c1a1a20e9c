// Runs of many seeds, one after the other, until one fails.
import type { FaultMix } from "#test-cluster/sim/fault-mix.ts";
import { type Run, simulate } from "#test-cluster/sim/simulate.ts";

export type Order = {
  readonly first: number;
  readonly count: number;
  readonly seconds: number;
  readonly faults?: Partial<FaultMix>;
};

export const noTotals = {
  ...{ seeds: 0, simulatedMs: 0, elections: 0, commits: 0, acknowledged: 0, checked: 0, events: 0, lost: 0, cpuMs: 0 },
};
export type Totals = typeof noTotals;

export const sum = (a: Totals, b: Totals): Totals =>
  Object.fromEntries(Object.entries(a).map(([key, value]) => [key, value + b[key as keyof Totals]])) as Totals;

/** `text`: for the reader. */
export type Failure = { readonly seed: number; readonly property: string; readonly text: string };
export type Outcome = { readonly totals: Totals; readonly failure: Failure | null };

/** What one needs to understand a violation; empty without one. */
export const failureText = ({ violation, seed, lastEvents, mix }: Run, seconds: number): string =>
  violation === null
    ? ""
    : [
        ...lastEvents,
        "",
        `faults: ${JSON.stringify(mix)}`,
        `VIOLATED ${violation.property}: ${violation.detail}`,
        ...(violation.stack === undefined ? [] : [violation.stack]),
        `again: node test-cluster/sim/main.ts --seed ${seed} --seconds ${seconds}`,
      ].join("\n");

export const runSeeds = async ({ first, count, seconds, faults }: Order): Promise<Outcome> => {
  const begin = process.cpuUsage();
  const totals = { ...noTotals };
  let failure: Failure | null = null;
  for (let seed = first; seed < first + count && failure === null; seed++) {
    const run = await simulate({ seed, seconds, ...(faults && { faults }) });
    totals.seeds++;
    for (const key of ["simulatedMs", "elections", "commits", "acknowledged", "checked", "events", "lost"] as const)
      totals[key] += run[key];
    if (run.violation !== null) failure = { seed, property: run.violation.property, text: failureText(run, seconds) };
  }
  const { user, system } = process.cpuUsage(begin);
  totals.cpuMs = (user + system) / 1000;
  return { totals, failure };
};
