// Unpacks one layer archive into a folder that overlayfs can take as a lowerdir (image-spec layer.md). The folder is new
// and only this code writes to it, so what has been made is known without asking the disk: an entry whose parent is not a
// folder made here (a symlink, a file) is refused, which leaves no way out of the folder.
import { createHash } from "node:crypto";
import {
  chmodSync,
  chownSync,
  constants,
  fchmodSync,
  fchownSync,
  futimesSync,
  lchownSync,
  linkSync,
  lutimesSync,
  mkdirSync,
  rmSync,
  symlinkSync,
  utimesSync,
} from "node:fs";
import { open } from "node:fs/promises";
import { join, posix } from "node:path";
import { refuse } from "#base/errors.ts";
import { makeNode, makeWhiteout, markOpaque, setXattr } from "#node-agent/runtime/overlay-whiteout.ts";
import { decompress } from "./decompress.ts";
import { type TarHeader, tarEntries } from "./tar-entries.ts";

export type UnpackedLayer = {
  /** sha256 of the archive without compression: the layer's diff ID. */
  readonly digest: string;
  readonly sizeBytes: number;
};

type Made = "directory" | "whiteout" | "other";
type Owner = { readonly mode: number; readonly uid: number; readonly gid: number; readonly mtime: Date };

const REMEDY = "Build the image again; such an archive could write outside the image";
const WHITEOUT = ".wh.";
const OPAQUE = ".wh..wh..opq";
const XATTR = "SCHILY.xattr.";

/** Unpacks `source` (plain, gzip or zstd) into the existing, empty folder `dir`. Needs root, for owners and devices. */
export const unpackLayer = async (source: AsyncIterable<Uint8Array>, dir: string): Promise<UnpackedLayer> => {
  const hash = createHash("sha256");
  const hashed = async function* () {
    for await (const chunk of decompress(source)) {
      hash.update(chunk);
      yield chunk;
    }
  };
  const layer = new LayerFolder(dir);
  for await (const { header, content } of tarEntries(hashed())) {
    const name = requireInside(header.name);
    if (header.type === "file" || header.type === "contiguous-file") await layer.addFile(name, header, content);
    else {
      layer.add(name, header);
      content.resume();
    }
  }
  layer.finish();
  return { digest: `sha256:${hash.digest("hex")}`, sizeBytes: layer.sizeBytes };
};

class LayerFolder {
  sizeBytes = 0;
  readonly #dir: string;
  readonly #made = new Map<string, Made>([["", "directory"]]);
  readonly #directoryTimes = new Map<string, Date>();

  constructor(dir: string) {
    this.#dir = dir;
    chmodSync(dir, 0o755);
  }

  async addFile(name: string, header: TarHeader, content: AsyncIterable<Uint8Array>): Promise<void> {
    if (posix.basename(name).startsWith(WHITEOUT)) {
      for await (const _ of content);
      this.#whiteOut(name);
      return;
    }
    const path = this.#replace(name, "other");
    const handle = await open(path, "wx", 0o600);
    try {
      for await (const chunk of content) {
        this.sizeBytes += chunk.byteLength;
        await handle.writeFile(chunk);
      }
      const owner = ownerOf(header);
      fchownSync(handle.fd, owner.uid, owner.gid);
      setXattrs(path, header);
      fchmodSync(handle.fd, owner.mode);
      futimesSync(handle.fd, owner.mtime, owner.mtime);
    } finally {
      await handle.close();
    }
  }

  add(name: string, header: TarHeader): void {
    if (header.type === "directory") this.#addDirectory(name, header);
    else if (header.type === "link") this.#addHardLink(name, header.linkname);
    else if (header.type === "symlink") this.#addSymlink(name, header);
    else this.#addNode(name, header);
  }

  /** Folders get their times last: every entry made inside would change them. */
  finish(): void {
    for (const [name, mtime] of this.#directoryTimes) utimesSync(join(this.#dir, name), mtime, mtime);
  }

  #addDirectory(name: string, header: TarHeader): void {
    const path = this.#made.get(name) === "directory" ? join(this.#dir, name) : this.#makeDirectory(name);
    applyOwner(path, header);
    this.#directoryTimes.set(name, ownerOf(header).mtime);
  }

  #addSymlink(name: string, header: TarHeader): void {
    const path = this.#replace(name, "other");
    symlinkSync(header.linkname, path);
    const owner = ownerOf(header);
    lchownSync(path, owner.uid, owner.gid);
    lutimesSync(path, owner.mtime, owner.mtime);
  }

  #addNode(name: string, header: TarHeader): void {
    const kind = NODE_KINDS[header.type];
    if (kind === undefined) throw refuse("invalid", name, "the layer has an entry of an unknown kind", REMEDY);
    const path = this.#replace(name, "other");
    makeNode(path, kind | 0o600, header.devmajor, header.devminor);
    applyOwner(path, header);
  }

  #addHardLink(name: string, linkname: string): void {
    const target = requireInside(linkname);
    if (this.#made.get(target) !== "other") {
      throw refuse("invalid", name, `it is a hard link to "${linkname}", which this layer doesn't hold`, REMEDY);
    }
    if (target === name) return;
    linkSync(join(this.#dir, target), this.#replace(name, "other"));
  }

  #whiteOut(name: string): void {
    const parent = dirnameOf(name);
    const base = posix.basename(name);
    if (base === OPAQUE) {
      this.#requireDirectory(parent, name);
      markOpaque(join(this.#dir, parent));
      return;
    }
    // Bookkeeping of the aufs storage driver, which some old archives still carry.
    if (base.startsWith(`${WHITEOUT}${WHITEOUT}`)) return;
    const deleted = base.slice(WHITEOUT.length);
    if (["", ".", ".."].includes(deleted)) throw refuse("invalid", name, "the whiteout names no file", REMEDY);
    const target = posix.join(parent, deleted);
    const present = this.#made.get(target);
    if (present === "directory") markOpaque(join(this.#dir, target));
    if (present === undefined) makeWhiteout(this.#replace(target, "whiteout"));
  }

  /** Makes way for `name`: its parents exist, nothing is left under the name. Returns its path. */
  #replace(name: string, made: Made): string {
    if (name === "") throw refuse("invalid", "layer", "its root is not a folder", REMEDY);
    this.#requireDirectory(dirnameOf(name), name);
    const path = join(this.#dir, name);
    const present = this.#made.get(name);
    if (present !== undefined) rmSync(path, { recursive: true });
    if (present === "directory") {
      for (const below of [...this.#made.keys()].filter((key) => key.startsWith(`${name}/`))) {
        this.#made.delete(below);
        this.#directoryTimes.delete(below);
      }
      this.#directoryTimes.delete(name);
    }
    this.#made.set(name, made);
    return path;
  }

  #makeDirectory(name: string): string {
    const hidden = this.#made.get(name) === "whiteout";
    const path = this.#replace(name, "directory");
    mkdirSync(path);
    chmodSync(path, 0o755);
    // Deleted and made again in the same layer: what the layers below hold stays hidden.
    if (hidden) markOpaque(path);
    return path;
  }

  #requireDirectory(name: string, wanted: string): void {
    const made = this.#made.get(name);
    if (made === "directory") return;
    if (made === "other") throw refuse("invalid", wanted, `it lies below "${name}", which is not a folder`, REMEDY);
    this.#requireDirectory(dirnameOf(name), wanted);
    this.#makeDirectory(name);
  }
}

const NODE_KINDS: Readonly<Record<string, number>> = {
  "character-device": constants.S_IFCHR,
  "block-device": constants.S_IFBLK,
  fifo: constants.S_IFIFO,
};

/** An entry's name relative to the layer's root, "" for the root itself. */
const requireInside = (name: string): string => {
  if (name.startsWith("/")) throw refuse("invalid", name, "the layer has an entry with an absolute path", REMEDY);
  if (name.split("/").includes(".."))
    throw refuse("invalid", name, "the layer has an entry with .. in its path", REMEDY);
  if (name.includes("\0")) throw refuse("invalid", "layer", "an entry's name has a zero byte", REMEDY);
  const normal = posix.normalize(name).replace(/\/$/, "");
  return normal === "." ? "" : normal;
};

const dirnameOf = (name: string): string => {
  const dir = posix.dirname(name);
  return dir === "." ? "" : dir;
};

/** Pax records win over the header's fields, which hold seven octal digits. */
const ownerOf = (header: TarHeader): Owner => ({
  mode: header.mode & 0o7777,
  uid: Number(header.pax?.uid ?? header.uid),
  gid: Number(header.pax?.gid ?? header.gid),
  mtime: header.pax?.mtime === undefined ? header.mtime : new Date(Number(header.pax.mtime) * 1000),
});

/** Owner first: chown clears set-user-ID bits and file capabilities. */
const applyOwner = (path: string, header: TarHeader): void => {
  const { uid, gid, mode, mtime } = ownerOf(header);
  chownSync(path, uid, gid);
  setXattrs(path, header);
  chmodSync(path, mode);
  utimesSync(path, mtime, mtime);
};

/** trusted.* would let an image write overlayfs's own marks; values that aren't text were damaged while decoding. */
const setXattrs = (path: string, header: TarHeader): void => {
  for (const [key, value] of Object.entries(header.pax ?? {})) {
    const name = key.startsWith(XATTR) ? key.slice(XATTR.length) : "";
    if (!/^(?:user\.|security\.capability$)/.test(name)) continue;
    if (value.includes("\ufffd")) {
      throw refuse("unsupported", header.name, `the attribute ${name} has a value that can't be read here`, REMEDY);
    }
    setXattr(path, name, Buffer.from(value));
  }
};
