// Writes an image archive's entries to a temporary folder. Entries get numbered files: their names never reach the disk.
import { createHash } from "node:crypto";
import { open } from "node:fs/promises";
import { join, posix } from "node:path";
import { tarEntries } from "./tar-entries.ts";

export type SpooledFile = { readonly path: string; readonly digest: string; readonly sizeBytes: number };

/** Entry name → where its bytes are. Links (older `docker save` points equal layers at each other) are followed. */
export type SpooledArchive = ReadonlyMap<string, SpooledFile>;

export const spoolArchive = async (source: AsyncIterable<Uint8Array>, dir: string): Promise<SpooledArchive> => {
  const files = new Map<string, SpooledFile>();
  const links = new Map<string, string>();
  let written = 0;
  for await (const { header, content } of tarEntries(source)) {
    const name = posix.normalize(header.name);
    if (header.type === "file" || header.type === "contiguous-file") {
      files.set(name, await spoolFile(content, join(dir, `entry-${written++}`)));
      continue;
    }
    if (header.type === "symlink") links.set(name, posix.join(posix.dirname(name), header.linkname ?? ""));
    if (header.type === "link") links.set(name, posix.normalize(header.linkname ?? ""));
    content.resume();
  }
  for (const [name, target] of links) {
    const file = files.get(target) ?? files.get(links.get(target) ?? "");
    if (file !== undefined) files.set(name, file);
  }
  return files;
};

const spoolFile = async (content: AsyncIterable<Uint8Array>, path: string): Promise<SpooledFile> => {
  const hash = createHash("sha256");
  let sizeBytes = 0;
  const handle = await open(path, "wx", 0o600);
  try {
    for await (const chunk of content) {
      hash.update(chunk);
      sizeBytes += chunk.byteLength;
      await handle.writeFile(chunk);
    }
  } finally {
    await handle.close();
  }
  return { path, digest: `sha256:${hash.digest("hex")}`, sizeBytes };
};
