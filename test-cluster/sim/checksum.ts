// Checksums of what is compared, quick ones: they have to show differences between two histories, not forgery.
import { crc32 } from "node:zlib";

/** Below this, a loop is faster than the call into zlib. */
const SHORT = 96;

export const checksum = (bytes: Uint8Array, seed: number): number => {
  if (bytes.length > SHORT) return crc32(bytes, seed >>> 0);
  let sum = seed ^ bytes.length;
  for (let i = 0; i < bytes.length; i++) sum = Math.imul(sum ^ bytes[i]!, 0x01000193);
  return (sum ^ (sum >>> 15)) >>> 0;
};
