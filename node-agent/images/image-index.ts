// index.json of the image store: which images there are, under which names, of which layers. It alone decides what
// exists: it is replaced atomically, and whatever it doesn't mention is removed at the next open.
import { readFileSync } from "node:fs";
import { TswarmError } from "#base/errors.ts";
import { writeFileDurably } from "#base/node/files.ts";

export type IndexedImage = {
  readonly digest: string;
  readonly names: readonly string[];
  readonly configDigest: string;
  /** Diff IDs, bottom first. */
  readonly layers: readonly string[];
  readonly createdAt: number;
};

export type IndexedLayer = {
  /** The layer's short name below l/: overlayfs takes one page of paths. */
  readonly link: number;
  readonly sizeBytes: number;
};

export type ImageIndex = {
  readonly version: 1;
  readonly images: readonly IndexedImage[];
  readonly layers: Readonly<Record<string, IndexedLayer>>;
};

export const emptyIndex: ImageIndex = { version: 1, images: [], layers: {} };

/** The stored index, or an empty one on first use. @throws TswarmError `unsupported` for a version it doesn't know. */
export const readIndex = (path: string): ImageIndex => {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code === "ENOENT") return emptyIndex;
    throw thrown;
  }
  let index: ImageIndex;
  try {
    index = JSON.parse(text) as ImageIndex;
  } catch (cause) {
    throw new TswarmError("internal", `${path} is damaged: it is not JSON. Remove it and load the images again.`, {
      cause,
    });
  }
  if (index.version !== 1) {
    throw new TswarmError(
      "unsupported",
      `${path} has version ${index.version}, this agent knows version 1. Use a newer agent.`,
    );
  }
  return index;
};

/** Replaces the index; after the return it is on disk. */
export const writeIndex = (path: string, index: ImageIndex): void =>
  writeFileDurably(path, `${JSON.stringify(index, null, 1)}\n`);

/** The index with this image, which takes its names from the images that had them. */
export const withImage = (
  index: ImageIndex,
  image: IndexedImage,
  layerSizes: ReadonlyMap<string, number>,
): ImageIndex => {
  const present = index.images.find((other) => other.digest === image.digest);
  const names = [...new Set([...(present?.names ?? []), ...image.names])];
  const others = index.images
    .filter((other) => other !== present)
    .map((other) => ({ ...other, names: other.names.filter((name) => !names.includes(name)) }));
  const layers = { ...index.layers };
  let link = Math.max(0, ...Object.values(layers).map((layer) => layer.link));
  for (const diffId of image.layers) layers[diffId] ??= { link: ++link, sizeBytes: layerSizes.get(diffId) ?? 0 };
  return { ...index, images: [...others, { ...image, names }], layers };
};

/** The index without this image and without the layers that no other image has. */
export const withoutImage = (index: ImageIndex, digest: string): ImageIndex => {
  const images = index.images.filter((image) => image.digest !== digest);
  const kept = new Set(images.flatMap((image) => image.layers));
  return { ...index, images, layers: Object.fromEntries(Object.entries(index.layers).filter(([id]) => kept.has(id))) };
};

export const sizeOf = (index: ImageIndex, image: IndexedImage): number =>
  image.layers.reduce((sum, diffId) => sum + (index.layers[diffId]?.sizeBytes ?? 0), 0);
