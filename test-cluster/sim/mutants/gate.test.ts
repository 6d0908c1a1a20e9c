import { expect } from "chai";
import { runMutant } from "#test-cluster/sim/fleet.ts";
import type { Mutant } from "#test-cluster/sim/mutants/mutant.ts";
import { mutants } from "#test-cluster/sim/mutants/mutants.ts";
import { scriptFinds } from "#test-cluster/sim/mutants/run-script.ts";

/** Several times what each of them needs: a change of the code must not make a rare finding of a common one. */
const SEEDS = 400;
const SECONDS = 20;
const KILL_AFTER_MS = 120_000;

const isFound = async ({ name, script, faults }: Mutant): Promise<boolean> => {
  if (script !== undefined) return scriptFinds(name, script);
  const order = { first: 1, count: SEEDS, seconds: SECONDS, ...(faults && { faults }) };
  return (await runMutant(name, order, KILL_AFTER_MS)).failure !== null;
};

describe("broken raft", () => {
  it(`is found, whichever of ${mutants.length} ways it is broken in`, async function () {
    this.timeout(900_000);
    const waiting = [...mutants];
    const missed: string[] = [];
    const serve = async () => {
      for (let mutant = waiting.shift(); mutant !== undefined; mutant = waiting.shift()) {
        if (!(await isFound(mutant))) missed.push(mutant.name);
      }
    };
    await Promise.all([serve(), serve()]);
    expect(missed).deep.equal([]);
  });
});
