// How figures are told: several runs as min, median and max, with what a peer needed beside them.

export type Spread = { readonly min: number; readonly median: number; readonly max: number };

/** Throws on an empty list. */
export const spread = (values: readonly number[]): Spread => {
  const sorted = [...values].sort((a, b) => a - b);
  if (sorted.length === 0) throw new RangeError("a bench without a single run");
  const middle = (sorted.length - 1) / 2;
  const median = (sorted[Math.floor(middle)]! + sorted[Math.ceil(middle)]!) / 2;
  return { min: sorted[0]!, median, max: sorted.at(-1)! };
};

/** One line: `values` as min / median / max in `unit`, and the peer's figure as a multiple of the median. */
export const tell = (what: string, values: readonly number[], unit: string, digits = 2, peer?: number): void => {
  const { min, median, max } = spread(values);
  const figures = [min, median, max].map((v) => v.toFixed(digits)).join(" / ");
  const beside = peer === undefined ? "" : `   Swarm ${peer} ${unit} = ${(peer / median).toFixed(1)} × ours`;
  console.log(`${what.padEnd(44)} ${figures.padStart(24)} ${unit}${beside}`);
};
