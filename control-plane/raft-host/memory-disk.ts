// A disk in memory for tests that damage files thousands of times. It remembers what was written, so that a test can work out
// what must be left without asking the code that reads.
import path from "node:path";
import type { Disk } from "#control-plane/raft-host/disk.ts";

/** `before`: what the place held until then. */
export type WrittenPart = {
  readonly file: string;
  readonly at: number;
  readonly bytes: Buffer;
  readonly before: Buffer;
};
export type MemoryDisk = Disk & {
  /** Everything as it is now; another disk can begin with it. */
  files(): ReadonlyMap<string, Buffer>;
  /** Under the names that the files had then. */
  readonly written: readonly WrittenPart[];
};

type Inode = { bytes: Buffer };

export const memoryDisk = (start: ReadonlyMap<string, Buffer> = new Map()): MemoryDisk => {
  const inodes = new Map<string, Inode>([...start].map(([name, bytes]) => [name, { bytes }]));
  const written: WrittenPart[] = [];
  const inode = (name: string): Inode => {
    const found = inodes.get(name);
    if (found === undefined) throw Object.assign(new Error(`ENOENT: ${name}`), { code: "ENOENT" });
    return found;
  };
  const put = (file: Inode, bytes: Uint8Array, at: number): void => {
    const grown = Buffer.alloc(Math.max(file.bytes.length, at + bytes.length));
    file.bytes.copy(grown);
    grown.set(bytes, at);
    file.bytes = grown;
  };
  return {
    written,
    files: () => new Map([...inodes].map(([name, { bytes }]) => [name, bytes])),
    makeDirectory: () => {},
    list: (dir) =>
      [...inodes.keys()]
        .filter((name) => path.dirname(name) === dir)
        .map((name) => path.basename(name))
        .sort(),
    open: (name, mode) => {
      if (mode === "create") inodes.set(name, { bytes: Buffer.alloc(0) });
      const file = inode(name);
      return {
        write: (bytes, at) => {
          const before = Buffer.alloc(bytes.length);
          file.bytes.copy(before, 0, at, at + bytes.length);
          written.push({ file: nameOf(inodes, file), at, bytes: Buffer.from(bytes), before });
          put(file, bytes, at);
        },
        fillTo: async (size) => {
          const { length } = file.bytes;
          if (length < size) put(file, Buffer.alloc(size - length), length);
        },
        sync: async () => {},
        syncNow: () => {},
        truncate: (size) => {
          const cut = Buffer.alloc(size);
          file.bytes.copy(cut);
          file.bytes = cut;
        },
        close: () => {},
      };
    },
    read: (name) => Buffer.from(inode(name).bytes),
    readPieces: async function* (name, size) {
      const { bytes } = inode(name);
      for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
    },
    size: (name) => inode(name).bytes.length,
    copy: (from, to) => {
      inodes.set(to, { bytes: inode(from).bytes });
    },
    rename: (from, to) => {
      inodes.set(to, inode(from));
      inodes.delete(from);
    },
    remove: (name) => {
      inode(name);
      inodes.delete(name);
    },
    syncDirectory: () => {},
    lock: () => () => {},
  };
};

const nameOf = (inodes: ReadonlyMap<string, Inode>, file: Inode): string =>
  [...inodes].find(([, found]) => found === file)?.[0] ?? "";
