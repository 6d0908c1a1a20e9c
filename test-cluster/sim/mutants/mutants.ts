// Deliberately broken variants of the code under test. A simulator that does not find them is worth nothing.
import { coreMutants } from "#test-cluster/sim/mutants/core-mutants.ts";
import { hostMutants } from "#test-cluster/sim/mutants/host-mutants.ts";

export const mutants = [...coreMutants, ...hostMutants];
