// Reads a container's log: the rotated files from old to new, then the present one, then what is still being written (inotify).
// Memory does not grow with the log: files are read in blocks, and the last N lines are found from the end.
import { type FSWatcher, watch } from "node:fs";
import { type FileHandle, open, readdir, stat } from "node:fs/promises";
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
const createLines = (handle: FileHandle) => {
  let offset = 0;
  let carry = Buffer.alloc(0);
  return async function* (from = offset): AsyncGenerator<Uint8Array> {
    offset = from;
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

type LogFile = {
  readonly handle: FileHandle;
  readonly inode: number;
  readonly lines: (from?: number) => AsyncGenerator<Uint8Array>;
};

/** The files of a log, opened, from old to new; the reader closes them. */
const openLog = async (path: string): Promise<LogFile[]> => {
  const files: LogFile[] = [];
  // From new to old: a rotation meanwhile then shows a file twice, instead of hiding one.
  for (const name of (await logFiles(path)).reverse()) {
    const handle = await open(name, "r").catch((e: NodeJS.ErrnoException) => {
      if (e.code !== "ENOENT") throw e;
    });
    if (!handle) continue;
    const { ino } = await handle.stat();
    if (files.some(({ inode }) => inode === ino)) await handle.close();
    else files.unshift({ handle, inode: ino, lines: createLines(handle) });
  }
  return files;
};

const inodeOf = (path: string): Promise<number | undefined> =>
  stat(path).then(
    ({ ino }) => ino,
    () => undefined,
  );

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
  let files: LogFile[] = [];
  /** Reads to the end of the last file, which stays open: it may grow. */
  const readThrough = async function* (from = 0) {
    for (;;) {
      const [file, next] = files;
      if (!file) return;
      yield* records(from > 0 ? file.lines(from) : file.lines());
      from = 0;
      if (!next) return;
      files.shift();
      await file.handle.close();
    }
  };
  try {
    files = await openLog(path);
    const start = await startOfTail(
      files.map(({ handle }) => handle),
      options,
    );
    for (const { handle } of files.splice(0, start.file)) await handle.close();
    yield* readThrough(start.offset);
    while (changes && !signal.aborted) {
      await changes.next();
      const current = files[0];
      if (current && (await inodeOf(path)) !== current.inode) {
        // A slow reader may be several rotations behind. What is older than the present file has been read.
        const now = await openLog(path);
        const at = now.findIndex(({ inode }) => inode === current.inode);
        for (const { handle } of now.splice(0, at + 1)) await handle.close();
        files.push(...now);
      } else if (!current) files = await openLog(path);
      yield* readThrough();
    }
    if (!signal.aborted) yield* joiner.rest().filter(wanted);
  } finally {
    changes?.close();
    for (const { handle } of files) await handle.close();
  }
}
