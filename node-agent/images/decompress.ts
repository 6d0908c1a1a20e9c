// gzip and zstd are known by their first bytes (RFC 1952 §2.3.1, RFC 8878 §3.1.1), never by a file name.

import { pipeline } from "node:stream/promises";
import { createGunzip, createZstdDecompress } from "node:zlib";

const GZIP = Buffer.from([0x1f, 0x8b]);
const ZSTD = Buffer.from([0x28, 0xb5, 0x2f, 0xfd]);

/** The bytes of `source`, unpacked when they are gzip or zstd. A cut-off stream throws at its end. */
export async function* decompress(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const iterator = source[Symbol.asyncIterator]();
  let head = Buffer.alloc(0);
  let ended = false;
  while (head.length < 4 && !ended) {
    const next = await iterator.next();
    if (next.done) ended = true;
    else head = Buffer.concat([head, next.value]);
  }
  const whole = prepend(head, iterator);
  const unpacker = startsWith(head, GZIP)
    ? createGunzip()
    : startsWith(head, ZSTD)
      ? createZstdDecompress()
      : undefined;
  if (unpacker === undefined) {
    yield* whole;
    return;
  }
  const fed = pipeline(whole, unpacker);
  // The reader below meets the same failure; without this it would count as unhandled before `await fed`.
  fed.catch(() => {});
  yield* unpacker;
  await fed;
}

const startsWith = (bytes: Buffer, magic: Buffer): boolean => bytes.subarray(0, magic.length).equals(magic);

async function* prepend(head: Uint8Array, rest: AsyncIterator<Uint8Array>): AsyncGenerator<Uint8Array> {
  try {
    if (head.length > 0) yield head;
    for (let next = await rest.next(); !next.done; next = await rest.next()) yield next.value;
  } finally {
    await rest.return?.();
  }
}
