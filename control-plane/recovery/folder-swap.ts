// Puts a new log in the place of the old one, so that a crash leaves either the one or the other, whole.
//
//   raft.part   is being written             raft.next   complete, to become `raft`
//
// There is no exchange of two folders that Node could call, so there is a moment without `raft`; then `raft.next` counts.
// With both, the old one counts: the new one was never put in its place.
import { closeSync, existsSync, fsyncSync, openSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";

export const liveFolder = (dataDir: string): string => join(dataDir, "raft");
export const unfinishedFolder = (dataDir: string): string => join(dataDir, "raft.part");
const nextFolder = (dataDir: string): string => join(dataDir, "raft.next");

const syncFolder = (dir: string): void => {
  const fd = openSync(dir, "r");
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
};

const rename = (dataDir: string, from: string, to: string): void => {
  renameSync(from, to);
  syncFolder(dataDir);
};

/** Before the log is opened: finishes or undoes what a crash has cut off. */
export const settleFolders = (dataDir: string): void => {
  const next = nextFolder(dataDir);
  if (existsSync(next) && !existsSync(liveFolder(dataDir))) rename(dataDir, next, liveFolder(dataDir));
  for (const left of [next, unfinishedFolder(dataDir)]) rmSync(left, { recursive: true, force: true });
};

/** What is in the unfinished folder, all of it on the disk, becomes the log; the old one gets the name `kept`, if there is one. */
export const putInPlace = (dataDir: string, kept: string): void => {
  const live = liveFolder(dataDir);
  rename(dataDir, unfinishedFolder(dataDir), nextFolder(dataDir));
  if (existsSync(live)) rename(dataDir, live, join(dataDir, kept));
  rename(dataDir, nextFolder(dataDir), live);
};
