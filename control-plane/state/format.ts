// Formats of what managers of different versions read of each other. An unknown format stops the manager: to skip a command
// would part its state from the others'.
import { newerVersion } from "#base/errors.ts";
import type { Command } from "#proto/gen/store.ts";

/** The newest formats that this version knows; it writes these. A command without a format has 0. */
export const COMMAND_FORMAT = 0;
export const SNAPSHOT_FORMAT = 1;

/** Throws `unsupported` when the command is of a later format than this version knows. */
export const checkFormat = (index: number, { format = 0 }: Command): void => {
  if (format > COMMAND_FORMAT) throw newerVersion(`the command at index ${index}`, format, COMMAND_FORMAT);
};

/** The same for a snapshot of the state. */
export const checkSnapshotFormat = (format: number): void => {
  if (format > SNAPSHOT_FORMAT) throw newerVersion("the snapshot of the state", format, SNAPSHOT_FORMAT);
};
