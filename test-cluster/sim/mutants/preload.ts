// node --import ./test-cluster/sim/mutants/preload.ts …, with the mutant's name in SIM_MUTANT: whatever runs then, such as the
// golden scripts, runs on the broken code.
import { mutants } from "#test-cluster/sim/mutants/mutants.ts";
import { mutate } from "#test-cluster/sim/mutants/mutate.ts";

const { SIM_MUTANT } = process.env;
const mutant = mutants.find((m) => m.name === SIM_MUTANT);
if (mutant === undefined) throw new Error(`no mutant "${SIM_MUTANT}"`);
mutate(mutant.edits);
