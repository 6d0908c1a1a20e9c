// The node's images:
//   index.json          what exists (image-index.ts)
//   blobs/sha256/<hex>  manifests and configurations
//   layers/<hex>/       layers by diff ID, unpacked once, shared by all images, ready as overlayfs lowerdirs
//   l/<number>          short links to them
//   tmp/                loads under way; emptied at open
// An image is visible when the index that mentions it is on disk, and never before its layers are. Layer archives are
// not kept. Changes run one after another; reads never wait.
import { lstatSync, mkdirSync, readdirSync, readFileSync, renameSync, symlinkSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { refuse } from "#base/errors.ts";
import type { Logger } from "#base/log.ts";
import { syncFilesystem } from "#node-agent/runtime/overlay-whiteout.ts";
import { Image } from "#proto/gen/node.ts";
import { NodeImage } from "#proto/gen/types.ts";
import { type ArchivedImage, readArchive } from "./archive.ts";
import { archiveError } from "./archive-error.ts";
import { type OciImageConfig, parseImageConfig } from "./image-config.ts";
import {
  type ImageIndex,
  type IndexedImage,
  readIndex,
  sizeOf,
  withImage,
  withoutImage,
  writeIndex,
} from "./image-index.ts";
import { withLayerThread } from "./layer-thread.ts";
import { canonicalName, digestPrefix, requireName } from "./reference.ts";
import { spoolArchive } from "./spool.ts";

export type ResolvedImage = {
  readonly digest: string;
  readonly names: readonly string[];
  readonly config: OciImageConfig;
  /** Absolute lowerdir paths, bottom first. */
  readonly layers: readonly string[];
  readonly sizeBytes: number;
};

export type RemovedImage = { readonly untagged: readonly string[]; readonly deleted: readonly string[] };

/** `ref` is name[:tag], a digest, or the beginning of a digest that only one image has. */
export type ImageStore = {
  /**
   * Adds the images of a docker archive or OCI layout (tar; plain, gzip or zstd). All of them become visible together,
   * or none. A name that another image had moves over.
   * @throws TswarmError `invalid` for what is no image archive, damaged or cut off; what `source` throws otherwise.
   */
  load(source: AsyncIterable<Uint8Array>): Promise<NodeImage[]>;
  list(inUse?: (digest: string) => boolean): Image[];
  /** @throws TswarmError `conflict` when a beginning of a digest fits several images. */
  resolve(ref: string): ResolvedImage | undefined;
  /**
   * By name: takes the name away, and deletes the image with its last one. By digest: takes all names and deletes it.
   * @throws TswarmError `not_found`; `conflict` when it is in use, or has several names and is given by digest: `force`
   * then takes the names away, but an image in use stays until it is removed by digest later.
   */
  remove(ref: string, options: { force: boolean; inUse: (digest: string) => boolean }): Promise<RemovedImage>;
  tag(source: string, target: string): Promise<void>;
  /** The images as the node's description reports them. */
  describe(): NodeImage[];
  /** Calls back after every change; returns the way to stop that. */
  onChange(listener: () => void): () => void;
};

const ARCHITECTURES: Readonly<Record<string, string>> = { x64: "amd64", arm64: "arm64" };

/** Opens the store in `dir`, which it makes when it is missing, and clears away what an interrupted load has left. */
export const openImageStore = async ({ dir, logger }: { dir: string; logger: Logger }): Promise<ImageStore> => {
  const paths = storePaths(dir);
  for (const path of [paths.blobs, paths.layers, paths.links]) mkdirSync(path, { recursive: true, mode: 0o700 });
  await rm(paths.tmp, { recursive: true, force: true });
  mkdirSync(paths.tmp, { mode: 0o700 });

  let index = readIndex(paths.index);
  const leftOver = await clearUnmentioned(paths, index);
  if (leftOver > 0) logger.info("removed what an interrupted image change left", { files: leftOver });
  for (const [diffId, layer] of Object.entries(index.layers)) linkLayer(paths, diffId, layer.link);

  const listeners = new Set<() => void>();
  let queue: Promise<unknown> = Promise.resolve();
  const inTurn = <T>(change: () => Promise<T>): Promise<T> => {
    const result = queue.then(change);
    queue = result.catch(() => {});
    return result;
  };
  const commit = (next: ImageIndex): void => {
    writeIndex(paths.index, next);
    index = next;
    for (const listener of listeners) listener();
  };
  const describeOne = (image: IndexedImage): NodeImage =>
    NodeImage.fromPartial({ digest: image.digest, names: [...image.names], sizeBytes: sizeOf(index, image) });

  const addImages = async (images: readonly ArchivedImage[], tmp: string): Promise<NodeImage[]> => {
    const fresh = await unpackMissing(images, index, tmp);
    for (const image of images) {
      writeFileSync(blobPath(paths, image.digest), image.manifest);
      writeFileSync(blobPath(paths, image.configDigest), image.configBytes);
    }
    for (const [diffId, layer] of fresh) {
      // A load that failed between here and its commit has left one that no image has.
      await rm(layerPath(paths, diffId), { recursive: true, force: true });
      renameSync(layer.path, layerPath(paths, diffId));
    }
    await syncFilesystem(dir);
    const sizes = new Map([...fresh].map(([diffId, layer]) => [diffId, layer.sizeBytes]));
    let next = index;
    for (const { digest, names, configDigest, config, layers } of images) {
      const entry = { digest, names, configDigest, layers: layers.map((l) => l.diffId), createdAt: config.createdAt };
      next = withImage(next, entry, sizes);
    }
    for (const diffId of fresh.keys()) linkLayer(paths, diffId, next.layers[diffId]!.link);
    commit(next);
    const loaded = new Set(images.map((image) => image.digest));
    return index.images.filter((image) => loaded.has(image.digest)).map(describeOne);
  };

  return {
    load: async (source) => {
      const tmp = await mkdtemp(join(paths.tmp, "load-"));
      let sourceError: unknown;
      const watched = async function* () {
        try {
          yield* source;
        } catch (thrown) {
          sourceError = thrown;
          throw thrown;
        }
      };
      try {
        const archive = await spoolArchive(watched(), tmp);
        const images = await readArchive(archive, ARCHITECTURES[process.arch] ?? process.arch);
        const loaded = await inTurn(() => addImages(images, tmp));
        logger.info("images loaded", { images: loaded.map((image) => ({ digest: image.digest, names: image.names })) });
        return loaded;
      } catch (thrown) {
        throw sourceError ?? archiveError(thrown);
      } finally {
        await rm(tmp, { recursive: true, force: true });
      }
    },

    list: (inUse = () => false) =>
      index.images.map((image) =>
        Image.fromPartial({
          digest: image.digest,
          names: [...image.names],
          sizeBytes: sizeOf(index, image),
          createdAt: image.createdAt,
          layers: image.layers.length,
          inUse: inUse(image.digest),
        }),
      ),

    resolve: (ref) => {
      const image = findImage(index, ref);
      if (image === undefined) return undefined;
      const { config } = parseImageConfig(readFileSync(blobPath(paths, image.configDigest)), image.configDigest);
      return {
        digest: image.digest,
        names: image.names,
        config,
        layers: image.layers.map((diffId) => join(paths.links, String(index.layers[diffId]!.link))),
        sizeBytes: sizeOf(index, image),
      };
    },

    remove: (ref, { force, inUse }) =>
      inTurn(async () => {
        const image = requireImage(index, ref);
        const name = canonicalName(ref);
        const untagged = name !== undefined && image.names.includes(name) ? [name] : image.names;
        const names = image.names.filter((other) => !untagged.includes(other));
        if (untagged.length > 1 && !force) {
          throw refuse(
            "conflict",
            ref,
            `the image has ${untagged.length} names: ${untagged.join(", ")}`,
            "Remove it by name, or with force",
          );
        }
        const used = names.length === 0 && inUse(image.digest);
        // Without a name left to take away, force has nothing it could do.
        if (used && (!force || untagged.length === 0)) {
          throw refuse(
            "conflict",
            ref,
            "a container on this node uses the image",
            "Remove the container or the service first",
          );
        }
        if (names.length > 0 || used) {
          commit({ ...index, images: index.images.map((other) => (other === image ? { ...image, names } : other)) });
          return { untagged, deleted: [] };
        }
        commit(withoutImage(index, image.digest));
        await clearUnmentioned(paths, index);
        logger.info("image removed", { digest: image.digest, names: untagged });
        return { untagged, deleted: [image.digest] };
      }),

    tag: (source, target) =>
      inTurn(async () => {
        const image = requireImage(index, source);
        commit(withImage(index, { ...image, names: [requireName("target", target)] }, new Map()));
      }),

    describe: () => index.images.map(describeOne),

    onChange: (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
};

/** A name wins over a beginning of a digest that is spelled like it. */
const findImage = (index: ImageIndex, ref: string): IndexedImage | undefined => {
  const name = canonicalName(ref);
  const named = name === undefined ? undefined : index.images.find((image) => image.names.includes(name));
  const prefix = digestPrefix(ref);
  if (named !== undefined || prefix === undefined) return named;
  const matches = index.images.filter((image) => image.digest.startsWith(`sha256:${prefix}`));
  if (matches.length <= 1) return matches[0];
  throw refuse(
    "conflict",
    ref,
    `${matches.length} images have a digest that begins like this`,
    "Give more digits of the digest",
  );
};

const requireImage = (index: ImageIndex, ref: string): IndexedImage => {
  const image = findImage(index, ref);
  if (image !== undefined) return image;
  if (digestPrefix(ref) === undefined) requireName("image", ref);
  throw refuse(
    "not_found",
    ref,
    "there is no such image on this node",
    "`tsctl image ls` shows those that are; `tsctl image load` adds one",
  );
};

/** Unpacks below `tmp` the layers that the store lacks. */
const unpackMissing = async (images: readonly ArchivedImage[], index: ImageIndex, tmp: string) => {
  const fresh = new Map<string, { path: string; sizeBytes: number }>();
  const made: string[] = [];
  await withLayerThread(async (thread) => {
    try {
      for (const layer of images.flatMap((image) => image.layers)) {
        if (index.layers[layer.diffId] !== undefined || fresh.has(layer.diffId)) continue;
        const path = join(tmp, `layer-${fresh.size}`);
        mkdirSync(path);
        made.push(path);
        const unpacked = await thread.unpack(layer.path, path);
        if (unpacked.digest !== layer.diffId) {
          const remedy = "Copy or save the archive again: it is damaged";
          throw refuse("invalid", layer.diffId, `the layer's content has the digest ${unpacked.digest}`, remedy);
        }
        fresh.set(layer.diffId, { path, sizeBytes: unpacked.sizeBytes });
      }
    } catch (thrown) {
      // The caller removes whatever is left; these may be many files.
      await thread.remove(made).catch(() => {});
      throw thrown;
    }
  });
  return fresh;
};

type StorePaths = ReturnType<typeof storePaths>;
const storePaths = (dir: string) => ({
  index: join(dir, "index.json"),
  blobs: join(dir, "blobs", "sha256"),
  layers: join(dir, "layers"),
  links: join(dir, "l"),
  tmp: join(dir, "tmp"),
});

const hexOf = (digest: string): string => digest.slice("sha256:".length);
const blobPath = (paths: StorePaths, digest: string): string => join(paths.blobs, hexOf(digest));
const layerPath = (paths: StorePaths, diffId: string): string => join(paths.layers, hexOf(diffId));

const linkLayer = (paths: StorePaths, diffId: string, link: number): void => {
  const path = join(paths.links, String(link));
  if (lstatSync(path, { throwIfNoEntry: false }) === undefined) symlinkSync(join("..", "layers", hexOf(diffId)), path);
};

/** Removes blobs, layers and links that the index doesn't mention; returns how many. A layer may have 100,000 files. */
const clearUnmentioned = async (paths: StorePaths, index: ImageIndex): Promise<number> => {
  const kept = new Set([
    ...index.images.flatMap((image) => [image.digest, image.configDigest].map((digest) => blobPath(paths, digest))),
    ...Object.keys(index.layers).map((diffId) => layerPath(paths, diffId)),
    ...Object.values(index.layers).map((layer) => join(paths.links, String(layer.link))),
  ]);
  const present = [paths.blobs, paths.layers, paths.links].flatMap((dir) =>
    readdirSync(dir).map((name) => join(dir, name)),
  );
  const unmentioned = present.filter((path) => !kept.has(path));
  if (unmentioned.length > 0) await withLayerThread((thread) => thread.remove(unmentioned));
  return unmentioned.length;
};
