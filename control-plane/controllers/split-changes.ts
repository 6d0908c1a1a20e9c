import { Change } from "#proto/gen/store.ts";

export const MOST_CHANGES = 2_000;
const MOST_BYTES = 1 << 20;
/** Below this number no set of changes comes near the limit in bytes, so nothing is measured. */
const MEASURE_FROM = 100;

/**
 * Cuts the changes of one transaction into commands: one, unless it has more than `most` or is too large for a log entry.
 * `bundlesOf`: what must stay together; a bundle may be more than `most`.
 */
export const splitChanges = (
  changes: readonly Change[],
  most = MOST_CHANGES,
  bundlesOf: (changes: readonly Change[]) => Change[][] = (all) => all.map((change) => [change]),
): Change[][] => {
  if (changes.length === 0) return [];
  if (changes.length <= Math.min(MEASURE_FROM, most)) return [[...changes]];
  const commands: Change[][] = [];
  let command: Change[] = [];
  let bytes = 0;
  for (const bundle of bundlesOf(changes)) {
    const size = bundle.reduce((sum, change) => sum + Change.encode(change).finish().length, 0);
    if (command.length > 0 && (command.length + bundle.length > most || bytes + size > MOST_BYTES)) {
      commands.push(command);
      command = [];
      bytes = 0;
    }
    command.push(...bundle);
    bytes += size;
  }
  commands.push(command);
  return commands;
};
