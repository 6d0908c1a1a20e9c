// What encrypts a member's files: data keys, and how a part of a file is sealed with them (AES-256-GCM).
//
// GCM is broken by a second use of a nonce under one key. A place in a file is no nonce: after a crash other bytes are
// written to the same place, and the torn ones may have been copied. So whoever begins to write draws a salt, which makes a
// key of its own (HKDF-SHA256), and counts its parts from zero. The count also ties each part to its place in the order:
// none can be left out, repeated or moved.
import { createCipheriv, createDecipheriv, createSecretKey, hkdfSync, type KeyObject } from "node:crypto";

export type DataKey = { readonly id: number; readonly key: Uint8Array };

export type DataKeys = {
  /** The one for new files. */
  current(): DataKey;
  /** undefined: it is not known (any more). */
  get(id: number): Uint8Array | undefined;
  /** Random, SALT_BYTES. */
  salt(): Uint8Array;
  /** Forgets the keys that no file needs. The current one stays. */
  retain(needed: ReadonlySet<number>): void;
};

/** Written in the clear where sealed parts begin. */
export type KeyUse = { readonly id: number; readonly salt: Uint8Array };

export const SALT_BYTES = 32;
export const KEY_BYTES = 32;
export const TAG_BYTES = 16;
const CIPHER = "aes-256-gcm";

const nonceOf = (counter: number): Buffer => {
  const nonce = Buffer.alloc(12);
  nonce.writeUIntBE(counter, 6, 6);
  return nonce;
};

const derive = (key: Uint8Array, salt: Uint8Array, purpose: string): KeyObject =>
  createSecretKey(Buffer.from(hkdfSync("sha256", key, salt, `tswarm ${purpose}`, KEY_BYTES)));

/** Seals the parts of one file, or of one life of a file, in order. */
export class Sealer {
  #derive: () => KeyObject;
  #key: KeyObject | undefined;
  #counter = 0;

  /** `purpose`: a key for one kind of file is none for another. Derived with the first part: often there is none. */
  constructor(key: Uint8Array, salt: Uint8Array, purpose: string) {
    this.#derive = () => derive(key, salt, purpose);
  }

  /** Ciphertext and tag: TAG_BYTES longer. `bound` must be the same for opening. */
  seal(plain: Uint8Array, bound: Uint8Array): [Buffer, Buffer] {
    this.#key ??= this.#derive();
    const cipher = createCipheriv(CIPHER, this.#key, nonceOf(this.#counter++)).setAAD(bound);
    const sealed = cipher.update(plain);
    cipher.final();
    return [sealed, cipher.getAuthTag()];
  }
}

export class Opener {
  #derive: () => KeyObject;
  #key: KeyObject | undefined;
  #counter = 0;

  constructor(key: Uint8Array, salt: Uint8Array, purpose: string) {
    this.#derive = () => derive(key, salt, purpose);
  }

  /** Throws when the part, its place in the order or `bound` is not what was sealed. */
  open(sealed: Uint8Array, bound: Uint8Array): Buffer {
    const end = sealed.length - TAG_BYTES;
    if (end < 0) throw new Error("too short");
    this.#key ??= this.#derive();
    const decipher = createDecipheriv(CIPHER, this.#key, nonceOf(this.#counter++), { authTagLength: TAG_BYTES });
    decipher.setAAD(bound).setAuthTag(sealed.subarray(end));
    const plain = decipher.update(sealed.subarray(0, end));
    decipher.final();
    return plain;
  }
}
