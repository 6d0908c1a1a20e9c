// Unlock keys: "TSWKEY-1-<32 bytes, base64url>". With autolock on, managers' files open only with it.
import { refuse } from "#base/errors.ts";
import type { Random } from "#base/random.ts";

const PREFIX = "TSWKEY-1-";
/** 43 characters hold 258 bits: of the last one only four of its six count. */
const SHAPE = /^TSWKEY-1-[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$/;
const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/** @param random one that nobody can predict */
export const newUnlockKey = (random: Random): string => {
  let text = PREFIX;
  for (let i = 0; i < 42; i++) text += ALPHABET[random.int(64)];
  return text + ALPHABET[random.int(16) * 4];
};

/** As a person has pasted it: with blanks around. Throws `invalid`. */
export const parseUnlockKey = (written: string): string => {
  const key = written.trim();
  if (!SHAPE.test(key))
    throw refuse(
      "invalid",
      "unlock key",
      `it does not have the form ${PREFIX} and 43 characters`,
      "Take it from where you keep it, or ask a manager that is not locked: `tsctl cluster unlock-key -q`",
    );
  return key;
};
