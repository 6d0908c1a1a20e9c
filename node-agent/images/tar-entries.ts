// tar-stream as one async generator: decompression and the source's failures reach the reader, and leaving the loop
// early lets go of the source.
import { pipeline } from "node:stream/promises";
import { extract, type Header } from "tar-stream";
import { decompress } from "./decompress.ts";

export type TarHeader = Header & { readonly pax?: Readonly<Record<string, string>> | null };
export type TarContent = AsyncIterable<Uint8Array> & { resume(): unknown };
export type TarEntry = { readonly header: TarHeader; readonly content: TarContent };

/**
 * The entries of a tar stream (plain, gzip or zstd). The content of each must be read to its end, or is skipped by
 * `content.resume()`, before the next one is asked for.
 * @throws what the source throws, or an Error when the stream is damaged or cut off.
 */
export async function* tarEntries(source: AsyncIterable<Uint8Array>): AsyncGenerator<TarEntry> {
  const reader = extract();
  const fed = pipeline(decompress(source), reader);
  fed.catch(() => {});
  // The package's types leave the pax records' type open.
  for await (const content of reader) yield { header: content.header as TarHeader, content: content as TarContent };
  await fed;
}
