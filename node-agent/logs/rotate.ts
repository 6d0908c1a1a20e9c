// Keeps a container's log within a number of files of a size. conmon's own --log-size-max throws the old file away, so the files
// are renamed here and conmon is told to open a new one. Nothing is lost: until it has, it writes into the renamed file.
import { watch } from "node:fs";
import { rename, stat } from "node:fs/promises";

export type RotateOptions = {
  readonly path: string;
  readonly maxBytes: number;
  /** The one being written included; at least 2. */
  readonly files: number;
  /** Makes the writer open `path` anew. */
  readonly reopen: () => Promise<void>;
  readonly onError: (error: unknown) => void;
};
export type Rotation = { close(): void };

/** A busy log's size is looked at this often at most; a quiet one's never. */
const CHECK_MS = 1000;

const sizeOf = async (path: string): Promise<number> => {
  try {
    return (await stat(path)).size;
  } catch (e) {
    if ((e as NodeJS.ErrnoException).code === "ENOENT") return 0;
    throw e;
  }
};

const renameIfThere = (from: string, to: string): Promise<void> =>
  rename(from, to).catch((e: NodeJS.ErrnoException) => {
    if (e.code !== "ENOENT") throw e;
  });

/** path → path.1 → path.2 …; the oldest is replaced. */
export const rotate = async ({ path, files, reopen }: Omit<RotateOptions, "maxBytes" | "onError">): Promise<void> => {
  for (let n = files - 1; n > 1; n--) await renameIfThere(`${path}.${n - 1}`, `${path}.${n}`);
  await renameIfThere(path, `${path}.1`);
  await reopen();
};

/** Watches one log by inotify, and rotates it when it has outgrown `maxBytes`. Checks once at the beginning. */
export const keepLogSmall = (options: RotateOptions): Rotation => {
  const { path, maxBytes, onError } = options;
  let closed = false;
  let timer: NodeJS.Timeout | undefined;
  let watcher: { close(): void } | undefined;

  const check = async () => {
    timer = undefined;
    if ((await sizeOf(path)) > maxBytes && !closed) {
      await rotate(options);
      // The watch follows the renamed file. The writer makes the new one soon; until then the next look is by the clock.
      watcher?.close();
      watcher = undefined;
    }
    if (!closed && !watcher) observe();
  };
  const later = () => {
    timer ??= setTimeout(() => void check().catch(onError), CHECK_MS).unref();
  };
  const observe = () => {
    try {
      watcher = watch(path, { persistent: false }, later).on("error", onError);
    } catch (e) {
      if ((e as NodeJS.ErrnoException).code !== "ENOENT") throw e;
      later();
    }
  };
  void check().catch(onError);
  return {
    close: () => {
      closed = true;
      clearTimeout(timer);
      watcher?.close();
    },
  };
};
