// `keys` in a member's folder: the data keys, wrapped. One box for each key that opens the file, all with the same content, so
// that the key of the node or the cluster's unlock key can be replaced without a moment at which neither opens it: first a
// box for the new one, then, when that one is sure to be there after a crash, the box of the old one goes.
import { createPrivateKey, randomBytes } from "node:crypto";
import path from "node:path";
import { newerVersion, TswarmError } from "#base/errors.ts";
import { type Box, type BoxKey, boxKey, openBox, sealBox, unlockBoxKey } from "#base/node/sealed-box.ts";
import type { Disk } from "#control-plane/raft-host/disk.ts";
import { type DataKey, type DataKeys, KEY_BYTES, SALT_BYTES } from "#control-plane/raft-host/keys.ts";

export type KeyFile = DataKeys & {
  /** Of the cluster's lock, when the file was last changed for it; 0: never. */
  readonly lockVersion: number;
  /** The ids of the keys that open it. */
  readonly openedBy: readonly string[];
  /** This key opens it too. */
  add(key: BoxKey): void;
  /** No other key opens it any more. */
  keepOnly(key: BoxKey): void;
  /** A new data key for all that is written from now on, in a file that `also` opens too. */
  rotate(lockVersion: number, also: BoxKey): void;
};

type Stored = { readonly version: 1; readonly boxes: readonly Box[] };
type Content = {
  readonly lockVersion: number;
  readonly keys: readonly { readonly id: number; readonly key: string }[];
};

const NAME = "keys";
const BOUND = "tswarm keys 1";

/** From the node's private key, PEM. */
export const nodeWrappingKey = (keyPem: string): BoxKey =>
  boxKey(createPrivateKey(keyPem).export({ type: "pkcs8", format: "der" }), "node key");

export const unlockWrappingKey = (unlockKey: string): BoxKey => unlockBoxKey(unlockKey, "unlock key");

/** Whole or not at all, also when the power fails. */
const store = (disk: Disk, dir: string, stored: Stored): void => {
  const tmp = path.join(dir, `${NAME}.tmp`);
  if (disk.list(dir).includes(`${NAME}.tmp`)) disk.remove(tmp);
  const file = disk.open(tmp, "create");
  try {
    file.write(Buffer.from(`${JSON.stringify(stored)}\n`), 0);
    file.syncNow();
  } finally {
    file.close();
  }
  disk.rename(tmp, path.join(dir, NAME));
  disk.syncDirectory(dir);
};

const isBox = (box: Partial<Box> | null): boolean =>
  [box?.key, box?.nonce, box?.sealed].every((field) => typeof field === "string");

const load = (disk: Disk, dir: string): Stored => {
  const file = path.join(dir, NAME);
  let stored: Stored;
  try {
    stored = JSON.parse(disk.read(file).toString());
  } catch (cause) {
    throw new TswarmError("internal", `${file} is damaged`, { cause });
  }
  if (!Array.isArray(stored?.boxes) || !stored.boxes.every(isBox))
    throw new TswarmError("internal", `${file} is damaged`);
  if (stored.version > 1) throw newerVersion(file, stored.version, 1);
  if (stored.version !== 1) throw new TswarmError("internal", `${file} is damaged`);
  return stored;
};

export const hasKeyFile = (disk: Disk, dir: string): boolean => disk.list(dir).includes(NAME);

class WrappedKeys implements KeyFile {
  #disk: Disk;
  #dir: string;
  #keys: readonly DataKey[];
  #by: readonly BoxKey[];
  lockVersion: number;
  openedBy: readonly string[];

  constructor(disk: Disk, dir: string, { lockVersion, keys }: Content, by: readonly BoxKey[], openedBy: string[]) {
    this.#disk = disk;
    this.#dir = dir;
    this.#keys = keys.map(({ id, key }) => ({ id, key: Buffer.from(key, "base64") }));
    this.#by = by;
    this.lockVersion = lockVersion;
    this.openedBy = openedBy;
  }

  current(): DataKey {
    return this.#keys.at(-1)!;
  }

  get(id: number): Uint8Array | undefined {
    return this.#keys.find((k) => k.id === id)?.key;
  }

  salt(): Uint8Array {
    return randomBytes(SALT_BYTES);
  }

  retain(needed: ReadonlySet<number>): void {
    const kept = this.#keys.filter((k) => needed.has(k.id) || k === this.current());
    if (kept.length < this.#keys.length) this.#store(this.#by, kept, this.lockVersion);
  }

  #with(key: BoxKey): BoxKey[] {
    return [...this.#by.filter(({ id }) => id !== key.id), key];
  }

  add(key: BoxKey): void {
    this.#store(this.#with(key), this.#keys, this.lockVersion);
  }

  keepOnly(key: BoxKey): void {
    this.#store([key], this.#keys, this.lockVersion);
  }

  rotate(lockVersion: number, also: BoxKey): void {
    const id = (this.#keys.at(-1)?.id ?? 0) + 1;
    this.#store(this.#with(also), [...this.#keys, { id, key: randomBytes(KEY_BYTES) }], lockVersion);
  }

  /** What is in memory is never ahead of the file: nothing may be written with a key that a crash would lose. */
  #store(by: readonly BoxKey[], keys: readonly DataKey[], lockVersion: number): void {
    const content = { lockVersion, keys: keys.map((k) => ({ id: k.id, key: Buffer.from(k.key).toString("base64") })) };
    store(this.#disk, this.#dir, { version: 1, boxes: by.map((key) => sealBox(key, JSON.stringify(content), BOUND)) });
    this.#by = by;
    this.#keys = keys;
    this.lockVersion = lockVersion;
    this.openedBy = by.map(({ id }) => id);
  }
}

/** With a first data key. */
export const createKeyFile = (disk: Disk, dir: string, key: BoxKey): KeyFile => {
  const keys = new WrappedKeys(disk, dir, { lockVersion: 0, keys: [] }, [], []);
  keys.rotate(0, key);
  return keys;
};

/** Throws `forbidden` when none of `candidates` opens it. */
export const openKeyFile = (disk: Disk, dir: string, candidates: readonly BoxKey[]): KeyFile => {
  const { boxes } = load(disk, dir);
  const file = path.join(dir, NAME);
  const by = candidates.filter(({ id }) => boxes.some((box) => box.key === id));
  const [first] = by;
  if (first === undefined)
    throw new TswarmError("forbidden", `${file} is wrapped with another key than those that this node has`);
  let content: Content;
  try {
    content = JSON.parse(openBox(first, boxes.find((box) => box.key === first.id)!, BOUND));
  } catch (cause) {
    throw new TswarmError("internal", `${file} is damaged`, { cause });
  }
  const openedBy = boxes.map(({ key }) => key);
  return new WrappedKeys(disk, dir, content, by, openedBy);
};
