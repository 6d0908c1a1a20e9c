// A short, stable digest of text, for names that must be derived from ids and to compare rulesets. Not cryptographic:
// nobody gains anything from a collision, and 64 bits keep accidents out.

/** 64 bits as two unsigned halves: two multiplicative hashes with different constants, mixed at the end (murmur3's finaliser). */
const halves = (text: string): readonly [number, number] => {
  let a = 0x9e3779b9 ^ text.length;
  let b = 0x85ebca6b;
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    a = Math.imul(a ^ c, 0x01000193);
    b = Math.imul(b ^ c, 0x5bd1e995) ^ (a >>> 15);
  }
  return [mix(a ^ (b >>> 7)), mix(b ^ (a << 5))];
};

const mix = (h: number): number => {
  let x = h;
  x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
  return (x ^ (x >>> 16)) >>> 0;
};

/** 16 hexadecimal digits. */
export const digestHex = (text: string): string => {
  const [a, b] = halves(text);
  return a.toString(16).padStart(8, "0") + b.toString(16).padStart(8, "0");
};

/** `length` (at most 12) characters of base 36. */
export const digestBase36 = (text: string, length: number): string => {
  const [a, b] = halves(text);
  return ((BigInt(a) << 32n) | BigInt(b)).toString(36).padStart(13, "0").slice(-length);
};
