import { Change } from "#proto/gen/store.ts";

const MOST_CHANGES = 2_000;
const MOST_BYTES = 1 << 20;
/** Below this number no set of changes comes near the limit in bytes, so nothing is measured. */
const MEASURE_FROM = 100;

/** Cuts the changes of one transaction into commands: one, unless it would be too large for a log entry. */
export const splitChanges = (changes: readonly Change[]): Change[][] => {
  if (changes.length === 0) return [];
  if (changes.length <= MEASURE_FROM) return [[...changes]];
  const commands: Change[][] = [];
  let command: Change[] = [];
  let bytes = 0;
  for (const change of changes) {
    const size = Change.encode(change).finish().length;
    if (command.length === MOST_CHANGES || (command.length > 0 && bytes + size > MOST_BYTES)) {
      commands.push(command);
      command = [];
      bytes = 0;
    }
    command.push(change);
    bytes += size;
  }
  commands.push(command);
  return commands;
};
