// The data keys of one member: kept outside of its disk, as those of real members are kept in a file of their own.
import { createHash } from "node:crypto";
import type { DataKeys } from "#control-plane/raft-host/keys.ts";

const keyOf = (id: number): Uint8Array => createHash("sha256").update(`key ${id}`).digest();

export class SimKeys implements DataKeys {
  #id = 1;
  #known = new Map<number, Uint8Array>([[1, keyOf(1)]]);
  #salts = 0;

  /** New files get another key from now on. */
  rotate(): void {
    this.#id++;
    this.#known.set(this.#id, keyOf(this.#id));
  }

  current(): { id: number; key: Uint8Array } {
    return { id: this.#id, key: this.#known.get(this.#id)! };
  }

  get(id: number): Uint8Array | undefined {
    return this.#known.get(id);
  }

  /** Never the same twice. */
  salt(): Uint8Array {
    const salt = Buffer.alloc(32);
    salt.writeUInt32LE(++this.#salts, 0);
    return salt;
  }

  retain(needed: ReadonlySet<number>): void {
    for (const id of this.#known.keys()) if (!needed.has(id) && id !== this.#id) this.#known.delete(id);
  }
}
