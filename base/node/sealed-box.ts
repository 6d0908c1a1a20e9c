// Small secrets in files, sealed with a key that comes from elsewhere: AES-256-GCM, the key derived with HKDF-SHA256.
import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from "node:crypto";

const CIPHER = "aes-256-gcm";
const TAG_BYTES = 16;

/** `id` tells which key a box needs, and nothing about it. */
export type BoxKey = { readonly id: string; readonly key: Uint8Array };
/** As it is stored, base64. */
export type Box = { readonly key: string; readonly nonce: string; readonly sealed: string };

/** A key for one purpose: one secret can have several, which don't tell of each other. */
export const boxKey = (secret: Uint8Array, purpose: string): BoxKey => {
  const derive = (what: string, length: number) =>
    Buffer.from(hkdfSync("sha256", secret, "", `tswarm ${purpose} ${what}`, length));
  return { id: derive("id", 8).toString("hex"), key: derive("key", 32) };
};

/** @param unlockKey checked already (base/unlock-key.ts) */
export const unlockBoxKey = (unlockKey: string, purpose: string): BoxKey =>
  boxKey(Buffer.from(unlockKey.slice("TSWKEY-1-".length), "base64url"), purpose);

/** @param bound what the box is for; must be the same for opening */
export const sealBox = ({ id, key }: BoxKey, content: string, bound: string): Box => {
  // Drawn at random: a key seals a few times in its life.
  const nonce = randomBytes(12);
  const cipher = createCipheriv(CIPHER, key, nonce).setAAD(Buffer.from(bound));
  const sealed = Buffer.concat([cipher.update(content), cipher.final(), cipher.getAuthTag()]);
  return { key: id, nonce: nonce.toString("base64"), sealed: sealed.toString("base64") };
};

/** Throws when the key is another one or the box was changed. */
export const openBox = ({ key }: BoxKey, box: Box, bound: string): string => {
  const sealed = Buffer.from(box.sealed, "base64");
  const decipher = createDecipheriv(CIPHER, key, Buffer.from(box.nonce, "base64"), { authTagLength: TAG_BYTES });
  decipher.setAAD(Buffer.from(bound)).setAuthTag(sealed.subarray(-TAG_BYTES));
  return Buffer.concat([decipher.update(sealed.subarray(0, -TAG_BYTES)), decipher.final()]).toString();
};
