// The file operations that the log and the snapshots need, as an interface: a test can put a disk under them that loses or
// damages what was not synced. Positions and sizes in bytes; errors are thrown as they come (code ENOSPC, EIO, …).

export type DiskFile = {
  /** Writes all of `bytes` at `position`. */
  write(bytes: Uint8Array, position: number): void;
  /** Fills up to `size` with zeros behind the present end, without blocking for long. */
  fillTo(size: number): Promise<void>;
  /** Everything written so far is on the medium when it resolves (fdatasync). */
  sync(): Promise<void>;
  syncNow(): void;
  truncate(size: number): void;
  close(): void;
};

/** No space, or no quota: the data that is there is not at risk, and there may be space again. */
export const isDiskFull = (error: unknown): boolean => {
  const { code } = error as { code?: unknown };
  return code === "ENOSPC" || code === "EDQUOT";
};

export type Disk = {
  makeDirectory(path: string): void;
  list(path: string): string[];
  /** Opens for writing; `create` makes a new empty file and fails when it exists. */
  open(path: string, mode: "create" | "existing"): DiskFile;
  read(path: string): Buffer;
  /** The file's bytes from its beginning in pieces of at most `size`. */
  readPieces(path: string, size: number): AsyncIterable<Buffer>;
  size(path: string): number;
  copy(from: string, to: string): void;
  rename(from: string, to: string): void;
  remove(path: string): void;
  /** Makes creations, renames and removals in the directory durable. */
  syncDirectory(path: string): void;
  /** Takes the directory for this process; throws `conflict` when another one has it. Returns the release. */
  lock(directory: string): () => void;
};
