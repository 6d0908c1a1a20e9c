import type { FaultMix } from "#test-cluster/sim/fault-mix.ts";

/** `from` is in `file` (from the root) exactly once and becomes `to`. */
export type Edit = { readonly file: string; readonly from: string; readonly to: string };

export type Mutant = {
  readonly name: string;
  readonly edits: readonly Edit[];
  /** In place of what the seed draws: makes frequent what a rare fault needs. */
  readonly faults?: Partial<FaultMix>;
  /** Found by this golden script of the core, because seeds hardly can. */
  readonly script?: string;
};
