// The real disk. Writes are synchronous (they only reach the page cache), syncs are not: that is the fastest combination
// measured on Node, and a sync under way lets the next batch gather.
import fs from "node:fs";
import { open as openAsync } from "node:fs/promises";
import path from "node:path";
import { TswarmError } from "#base/errors.ts";
import type { Disk, DiskFile } from "#control-plane/raft-host/disk.ts";

const ZEROS = Buffer.alloc(1 << 20);

const diskFile = (fd: number): DiskFile => ({
  write: (bytes, position) => {
    for (let done = 0; done < bytes.length; ) {
      done += fs.writeSync(fd, bytes, done, bytes.length - done, position + done);
    }
  },
  fillTo: async (size) => {
    for (let at = fs.fstatSync(fd).size; at < size; ) {
      const count = Math.min(ZEROS.length, size - at);
      at += await new Promise<number>((resolve, reject) =>
        fs.write(fd, ZEROS, 0, count, at, (error, written) => (error ? reject(error) : resolve(written))),
      );
    }
  },
  sync: () => new Promise<void>((resolve, reject) => fs.fdatasync(fd, (error) => (error ? reject(error) : resolve()))),
  syncNow: () => fs.fsyncSync(fd),
  truncate: (size) => fs.ftruncateSync(fd, size),
  close: () => fs.closeSync(fd),
});

async function* readPieces(file: string, size: number): AsyncIterable<Buffer> {
  const handle = await openAsync(file, "r");
  try {
    for (;;) {
      const { bytesRead, buffer } = await handle.read(Buffer.allocUnsafe(size), 0, size);
      if (bytesRead === 0) return;
      yield buffer.subarray(0, bytesRead);
    }
  } finally {
    await handle.close();
  }
}

const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
};

/** When a process of that pid began, in clock ticks since boot: a pid alone may have been given to another process. */
const startOf = (pid: number): string => {
  try {
    return fs.readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ")[19] ?? "";
  } catch {
    return "";
  }
};

const held = new Set<string>();

const lock = (directory: string): (() => void) => {
  const file = path.join(path.resolve(directory), "lock");
  const busy = (who: string) =>
    new TswarmError("conflict", `${directory} is in use by ${who}: two members must not share a folder`);
  if (held.has(file)) throw busy("this process");
  if (fs.existsSync(file)) {
    const [pid, start] = fs.readFileSync(file, "utf8").trim().split(" ");
    if (Number(pid) > 0 && Number(pid) !== process.pid && isAlive(Number(pid)) && startOf(Number(pid)) === start) {
      throw busy(`process ${pid}`);
    }
    fs.rmSync(file);
  }
  fs.writeFileSync(file, `${process.pid} ${startOf(process.pid)}\n`, { flag: "wx", mode: 0o600 });
  held.add(file);
  return () => {
    held.delete(file);
    fs.rmSync(file, { force: true });
  };
};

export const nodeDisk: Disk = {
  makeDirectory: (dir) => {
    fs.mkdirSync(dir, { recursive: true, mode: 0o700 });
  },
  list: (dir) => fs.readdirSync(dir).sort(),
  open: (file, mode) => diskFile(fs.openSync(file, mode === "create" ? "wx+" : "r+", 0o600)),
  read: (file) => fs.readFileSync(file),
  readPieces,
  size: (file) => fs.statSync(file).size,
  copy: (from, to) => fs.copyFileSync(from, to),
  rename: (from, to) => fs.renameSync(from, to),
  remove: (file) => fs.rmSync(file),
  syncDirectory: (dir) => {
    const fd = fs.openSync(dir, "r");
    try {
      fs.fsyncSync(fd);
    } finally {
      fs.closeSync(fd);
    }
  },
  lock,
};
