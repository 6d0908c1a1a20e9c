// Where the bytes of entries live. The log keeps thousands of entries for hours in a quiet cluster, and a view keeps all that
// was allocated with it: 64 KiB of what was read from the network, or of Node's pool of buffers, often for one entry of 300
// bytes. Here are nothing but entries, one behind the other, and they go in this order too.

const SLAB_BYTES = 64 << 10;

let slab = new Uint8Array(0);
let used = 0;

/** A copy for what lives as long as an entry. */
export const entryMemory = (bytes: Uint8Array): Uint8Array => {
  if (bytes.length > SLAB_BYTES / 8) return new Uint8Array(bytes);
  if (used + bytes.length > slab.length) {
    slab = new Uint8Array(SLAB_BYTES);
    used = 0;
  }
  const copy = slab.subarray(used, used + bytes.length);
  copy.set(bytes);
  used += bytes.length;
  return copy;
};
