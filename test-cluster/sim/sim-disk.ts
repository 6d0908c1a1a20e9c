// A disk in memory that knows, byte by byte, what a power loss may take: file contents since the file's last sync (by sectors
// of 512, in any combination) and names since the folder's last sync (in order, as a journal does). It trusts nothing the
// code above says about itself. Made folders are durable at once: the sync of the first file in them commits them on ext4.
import path from "node:path";
import { TswarmError } from "#base/errors.ts";
import type { Random } from "#base/random.ts";
import type { Disk, DiskFile } from "#control-plane/raft-host/disk.ts";
import { chance, pick } from "#test-cluster/sim/draw.ts";

const SECTOR = 512;
const READ_MS = 0.1;

const noSpace = () => Object.assign(new Error("no space left on device"), { code: "ENOSPC" });

/** An injected failure of a sync. */
export class DiskFault extends Error {}

export type DiskHooks = {
  /** How long the next sync takes, ms; "fault": it fails at its end. */
  syncMs(): number | "fault";
  wait(ms: number): Promise<void>;
  /** Before each operation that changes something; may throw. */
  beforeChange(): void;
};

type Change = { readonly at: number; readonly bytes: Uint8Array } | { readonly size: number };

class Bytes {
  #buffer = Buffer.alloc(4096);
  size = 0;

  get view(): Buffer {
    return this.#buffer.subarray(0, this.size);
  }

  apply(change: Change): void {
    if ("size" in change) this.#resize(change.size);
    else this.put(change.at, change.bytes);
  }

  flip(at: number, bits: number): void {
    this.#buffer[at]! ^= bits;
  }

  put(at: number, bytes: Uint8Array): void {
    if (at + bytes.length > this.size) this.#resize(at + bytes.length);
    this.#buffer.set(bytes, at);
  }

  #resize(size: number): void {
    if (size > this.#buffer.length) {
      const grown = Buffer.alloc(Math.max(size, this.#buffer.length * 2));
      this.view.copy(grown);
      this.#buffer = grown;
    }
    if (size < this.size) this.#buffer.fill(0, size, this.size);
    this.size = size;
  }
}

class Inode {
  readonly cached = new Bytes();
  readonly durable = new Bytes();
  pending: Change[] = [];

  change(change: Change): void {
    this.cached.apply(change);
    this.pending.push(change);
  }

  /** The first `count` pending changes are on the medium. */
  sync(count: number): void {
    for (const change of this.pending.splice(0, count)) this.durable.apply(change);
  }

  /** Of what was not synced, some sectors arrive. */
  losePower(survives: () => boolean): void {
    for (const change of this.pending) {
      if ("size" in change) {
        if (survives()) this.durable.apply(change);
        continue;
      }
      const { at, bytes } = change;
      for (let from = 0; from < bytes.length; ) {
        const to = Math.min(bytes.length, from + SECTOR - ((at + from) % SECTOR));
        if (survives()) this.durable.put(at + from, bytes.subarray(from, to));
        from = to;
      }
    }
    this.pending = [];
    this.cached.apply({ size: 0 });
    this.cached.put(0, this.durable.view);
  }
}

type Rename = { readonly remove: string | null; readonly add: { readonly name: string; readonly inode: Inode } | null };

class Folder {
  names = new Map<string, Inode>();
  #durable = new Map<string, Inode>();
  #pending: Rename[] = [];

  change(change: Rename): void {
    applyRename(this.names, change);
    this.#pending.push(change);
  }

  sync(): void {
    for (const change of this.#pending.splice(0)) applyRename(this.#durable, change);
  }

  losePower(random: Random, survives: () => boolean): void {
    const kept = survives() ? random.int(this.#pending.length + 1) : 0;
    for (const change of this.#pending.slice(0, kept)) applyRename(this.#durable, change);
    this.#pending = [];
    this.names = new Map(this.#durable);
    for (const inode of this.names.values()) inode.losePower(survives);
  }
}

const applyRename = (names: Map<string, Inode>, { remove, add }: Rename): void => {
  if (remove !== null) names.delete(remove);
  if (add !== null) names.set(add.name, add.inode);
};

const absent = (file: string) => Object.assign(new Error(`no such file: ${file}`), { code: "ENOENT" });

/** One member's medium; it outlives the member's process. */
export class SimDisk {
  /** How many faults fill it now: what exists can be written over, nothing grows. */
  full = 0;
  #folders = new Map<string, Folder>();
  #random: Random;

  constructor(random: Random) {
    this.#random = random;
  }

  /** Turns over up to three neighbouring bits of a synced byte; null when there is nothing to damage. */
  rot(random: Random): string | null {
    const files: { file: string; inode: Inode }[] = [];
    for (const [folder, { names }] of this.#folders) {
      for (const [name, inode] of names) if (inode.durable.size > 0) files.push({ file: `${folder}/${name}`, inode });
    }
    if (files.length === 0) return null;
    const { file, inode } = pick(random, files);
    // The end of a segment is zeros.
    const { view } = inode.durable;
    let used = view.length;
    while (used > 1 && view[used - 1] === 0) used--;
    const at = random.int(used);
    const bits = pick(random, [1, 3, 7]) << random.int(6);
    inode.durable.flip(at, bits);
    // What the process reads comes from memory, as long as it is there.
    if (chance(random, 0.5) && at < inode.cached.size) inode.cached.flip(at, bits);
    return `${file} at ${at} of ${used}`;
  }

  losePower(): void {
    const random = this.#random;
    const share = pick(random, [0, 0, 1, 0.1, 0.5, 0.9]);
    for (const folder of this.#folders.values()) folder.losePower(random, () => chance(random, share));
  }

  #folder(name: string): Folder {
    const folder = this.#folders.get(name);
    if (folder === undefined) throw absent(name);
    return folder;
  }

  #inode(file: string): Inode {
    const inode = this.#folder(path.dirname(file)).names.get(path.basename(file));
    if (inode === undefined) throw absent(file);
    return inode;
  }

  /** The disk as one life of the process sees it. */
  mount(hooks: DiskHooks): Disk {
    const changing =
      <A extends unknown[], R>(run: (...args: A) => R) =>
      (...args: A): R => {
        hooks.beforeChange();
        return run(...args);
      };
    const add = (file: string, inode: Inode, remove: string | null) =>
      this.#folder(path.dirname(file)).change({ remove, add: { name: path.basename(file), inode } });
    const create = (file: string): Inode => {
      if (this.full > 0) throw noSpace();
      if (this.#folder(path.dirname(file)).names.has(path.basename(file))) {
        throw Object.assign(new Error(`exists: ${file}`), { code: "EEXIST" });
      }
      const inode = new Inode();
      add(file, inode, null);
      return inode;
    };
    const readPieces = async function* (inode: () => Inode, size: number): AsyncGenerator<Buffer> {
      const { view } = inode().cached;
      const step = Math.min(size, 3000);
      for (let at = 0; at < view.length; at += step) {
        await hooks.wait(READ_MS);
        yield Buffer.from(view.subarray(at, at + step));
      }
    };
    return {
      makeDirectory: (dir) => {
        if (!this.#folders.has(dir)) this.#folders.set(dir, new Folder());
      },
      list: (dir) => [...this.#folder(dir).names.keys()].sort(),
      open: changing((file, mode) => openFile(this, mode === "create" ? create(file) : this.#inode(file), hooks)),
      read: (file) => Buffer.from(this.#inode(file).cached.view),
      readPieces: (file, size) => readPieces(() => this.#inode(file), size),
      size: (file) => this.#inode(file).cached.size,
      copy: changing((from, to) => {
        if (this.full > 0) throw noSpace();
        const inode = new Inode();
        inode.change({ at: 0, bytes: Buffer.from(this.#inode(from).cached.view) });
        add(to, inode, null);
      }),
      rename: changing((from, to) => add(to, this.#inode(from), path.basename(from))),
      remove: changing((file) => {
        this.#inode(file);
        this.#folder(path.dirname(file)).change({ remove: path.basename(file), add: null });
      }),
      syncDirectory: changing((dir) => this.#folder(dir).sync()),
      // A process that has crashed leaves no lock behind here: the lives of a member never overlap.
      lock: () => () => {},
    };
  }
}

const openFile = (disk: SimDisk, inode: Inode, hooks: DiskHooks): DiskFile => {
  let closed = false;
  const change = (what: Change) => {
    if (closed) throw new TswarmError("internal", "a closed file is written");
    hooks.beforeChange();
    inode.change(what);
  };
  const flush = (count: number, ms: number | "fault") => {
    if (ms === "fault") throw new DiskFault("injected failure of a sync");
    inode.sync(count);
  };
  return {
    write: (bytes, position) => {
      if (disk.full > 0 && position + bytes.length > inode.cached.size) throw noSpace();
      change({ at: position, bytes: new Uint8Array(bytes) });
    },
    fillTo: async (size) => {
      await hooks.wait(0.2);
      if (disk.full > 0 && size > inode.cached.size) throw noSpace();
      if (size > inode.cached.size) change({ size });
    },
    sync: async () => {
      hooks.beforeChange();
      const ms = hooks.syncMs();
      const done = inode.pending.at(-1);
      await hooks.wait(ms === "fault" ? 1 : ms);
      // Another sync of the same file may have ended in between.
      flush(done === undefined ? 0 : inode.pending.indexOf(done) + 1, ms);
    },
    syncNow: () => {
      hooks.beforeChange();
      flush(inode.pending.length, hooks.syncMs());
    },
    truncate: (size) => change({ size }),
    close: () => {
      closed = true;
    },
  };
};
