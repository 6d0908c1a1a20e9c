// Reads a container's log: the rotated files from old to new, then the present one, then what is still being written (inotify).
// Memory does not grow with the log: files are read in blocks, and the last N lines are found from the end.
import { type FSWatcher, watch } from "node:fs";
import { type FileHandle, open, readdir } from "node:fs/promises";
import { basename, dirname } from "node:path";
import { createJoiner, type LogRecord, parseLine } from "./k8s-file.ts";
import { startOfTail } from "./tail.ts";

export type ReadOptions = {
  /** Goes on until `signal`. */
  readonly follow: boolean;
  /** The last so many lines of the streams that are read; -1: all. */
  readonly tail: number;
  /** Wall clock, ms; 0: from the beginning. */
  readonly since: number;
  readonly stdout: boolean;
  readonly stderr: boolean;
  readonly signal: AbortSignal;
};

const BLOCK_BYTES = 64 << 10;
const NEWLINE = 0x0a;

/** Lines of one file from an offset to its present end; `carry` keeps an unfinished line until the file has grown. */
const createLines = (handle: FileHandle, from: number) => {
  let offset = from;
  let carry = Buffer.alloc(0);
  return async function* (): AsyncGenerator<Uint8Array> {
    for (;;) {
      const block = Buffer.allocUnsafe(BLOCK_BYTES);
      const { bytesRead } = await handle.read(block, 0, BLOCK_BYTES, offset);
      if (bytesRead === 0) return;
      offset += bytesRead;
      const read = block.subarray(0, bytesRead);
      const data = carry.length === 0 ? read : Buffer.concat([carry, read]);
      let start = 0;
      for (let end = data.indexOf(NEWLINE); end >= 0; end = data.indexOf(NEWLINE, start)) {
        yield data.subarray(start, end);
        start = end + 1;
      }
      carry = data.subarray(start);
    }
  };
};

/** "x.log.2", "x.log.1", "x.log": those that exist, from old to new. */
export const logFiles = async (path: string): Promise<string[]> => {
  const name = basename(path);
  const entries = await readdir(dirname(path)).catch((): string[] => []);
  const numbers = entries.flatMap((entry) => {
    const rest = entry.slice(name.length + 1);
    return entry.startsWith(`${name}.`) && /^[1-9]\d*$/.test(rest) ? [Number(rest)] : [];
  });
  const rotated = numbers.toSorted((a, b) => b - a).map((number) => `${path}.${number}`);
  return entries.includes(name) ? [...rotated, path] : rotated;
};

const openIfThere = (path: string): Promise<FileHandle | undefined> =>
  open(path, "r").catch((e: NodeJS.ErrnoException) => {
    if (e.code === "ENOENT") return undefined;
    throw e;
  });

/** Resolves at the next change of the folder after the last call, at once when one has been missed. */
const watchFolder = (folder: string, signal: AbortSignal) => {
  let changed = true;
  let wake = () => {};
  const notify = () => {
    changed = true;
    wake();
  };
  const watcher: FSWatcher = watch(folder, { persistent: false }, notify);
  watcher.on("error", notify);
  signal.addEventListener("abort", notify, { once: true });
  return {
    async next() {
      if (!changed) await new Promise<void>((resolve) => (wake = resolve));
      changed = false;
    },
    close() {
      watcher.close();
      signal.removeEventListener("abort", notify);
    },
  };
};

/** All lines that the options ask for. A log that is not there yet is an empty one. Ends, without an error, at `signal`. */
export async function* readLogs(path: string, options: ReadOptions): AsyncGenerator<LogRecord> {
  const { signal, since, follow } = options;
  const joiner = createJoiner();
  const wanted = (record: LogRecord) =>
    (record.stderr ? options.stderr : options.stdout) && record.atUs >= since * 1000;
  const records = async function* (lines: AsyncIterable<Uint8Array>) {
    for await (const line of lines) {
      if (signal.aborted) return;
      const piece = parseLine(line);
      const record = piece && joiner.push(piece);
      if (record && wanted(record)) yield record;
    }
  };
  // Watching starts before reading, or a change in between would be missed.
  const changes = follow ? watchFolder(dirname(path), signal) : undefined;
  const handles = new Set<FileHandle>();
  const release = async (handle: FileHandle) => {
    handles.delete(handle);
    await handle.close();
  };
  try {
    // All files are opened before the first is read: a rotation meanwhile only renames them.
    for (const file of await logFiles(path)) {
      const handle = await openIfThere(file);
      if (handle) handles.add(handle);
    }
    const ordered = [...handles];
    const from = await startOfTail(ordered, options);
    let current: { handle: FileHandle; inode: number; lines: () => AsyncGenerator<Uint8Array> } | undefined;
    for (const [index, handle] of ordered.entries()) {
      if (index < from.file) {
        await release(handle);
        continue;
      }
      const lines = createLines(handle, index === from.file ? from.offset : 0);
      yield* records(lines());
      if (index < ordered.length - 1) await release(handle);
      else current = { handle, inode: (await handle.stat()).ino, lines };
    }
    while (changes && !signal.aborted) {
      await changes.next();
      const next = await openIfThere(path);
      if (next) handles.add(next);
      const inode = (await next?.stat())?.ino;
      // The old file is complete once the new one is there: it is made by the process that writes.
      if (current) yield* records(current.lines());
      if (!next) continue;
      if (inode === current?.inode) {
        await release(next);
        continue;
      }
      if (current) await release(current.handle);
      current = { handle: next, inode: inode!, lines: createLines(next, 0) };
      yield* records(current.lines());
    }
    if (!signal.aborted) yield* joiner.rest().filter(wanted);
  } finally {
    changes?.close();
    for (const handle of handles) await handle.close();
  }
}
