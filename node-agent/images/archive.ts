// Reads what a spooled archive holds: a docker archive (manifest.json, `docker save`) or an OCI layout (index.json,
// image-spec image-layout.md). Where both are present (Docker 25 and later) the layout is taken: it has real manifests.
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { posix } from "node:path";
import { refuse } from "#base/errors.ts";
import {
  asArray,
  asObject,
  asString,
  type ImageConfigFile,
  parseImageConfig,
  parseJson,
  parseJsonObject,
} from "./image-config.ts";
import { canonicalName, isDigest } from "./reference.ts";
import type { SpooledArchive, SpooledFile } from "./spool.ts";

export type ArchivedImage = {
  readonly digest: string;
  readonly manifest: Uint8Array;
  readonly configDigest: string;
  readonly configBytes: Uint8Array;
  readonly config: ImageConfigFile;
  readonly names: readonly string[];
  readonly layers: readonly { readonly diffId: string; readonly path: string }[];
};

const REMEDY = "Save the image again as a docker archive or an OCI layout";
const MAX_JSON_BYTES = 8 << 20;

/** The images of an archive for this machine's architecture. Refuses archives that hold none, or damaged ones. */
export const readArchive = async (archive: SpooledArchive, architecture: string): Promise<readonly ArchivedImage[]> => {
  const layout = archive.get("index.json");
  const docker = archive.get("manifest.json");
  if (layout !== undefined) return readLayout(archive, layout, architecture);
  if (docker !== undefined) return readDockerArchive(archive, docker, architecture);
  throw refuse("invalid", "archive", "it has neither index.json nor manifest.json, so it is no image archive", REMEDY);
};

const readDockerArchive = async (archive: SpooledArchive, file: SpooledFile, architecture: string) => {
  const images: ArchivedImage[] = [];
  for (const item of asArray(parseJson(await read(file, "manifest.json"), "manifest.json")).map(asObject)) {
    const configFile = requireEntry(archive, asString(item.Config));
    const configBytes = await read(configFile, "config");
    const config = parseImageConfig(configBytes, "config");
    requireArchitecture(config, architecture);
    const layers = asArray(item.Layers).map((name) => requireEntry(archive, asString(name)));
    // A docker archive has no manifest: this one depends only on the content, so every node finds the same digest.
    const manifest = Buffer.from(
      JSON.stringify({
        schemaVersion: 2,
        mediaType: "application/vnd.oci.image.manifest.v1+json",
        config: {
          mediaType: "application/vnd.oci.image.config.v1+json",
          digest: configFile.digest,
          size: configFile.sizeBytes,
        },
        layers: layers.map((layer, i) => ({
          mediaType: "application/vnd.oci.image.layer.v1.tar",
          digest: config.diffIds[i],
          size: layer.sizeBytes,
        })),
      }),
    );
    images.push({
      digest: sha256(manifest),
      manifest,
      configDigest: configFile.digest,
      configBytes,
      config,
      names: namesOf(asArray(item.RepoTags)),
      layers: pairLayers(config, layers),
    });
  }
  if (images.length === 0) throw refuse("invalid", "manifest.json", "it lists no image", REMEDY);
  return images;
};

const readLayout = async (archive: SpooledArchive, file: SpooledFile, architecture: string) => {
  const images: ArchivedImage[] = [];
  const visit = async (
    index: Uint8Array,
    where: string,
    inherited: readonly string[],
    depth: number,
  ): Promise<void> => {
    for (const item of asArray(parseJsonObject(index, where).manifests).map(asObject)) {
      const names = [...inherited, ...annotatedNames(asObject(item.annotations))];
      const platform = asObject(item.platform);
      if (platform.architecture !== undefined && platform.architecture !== architecture) continue;
      const digest = asString(item.digest);
      const blob = requireBlob(archive, digest);
      const bytes = await read(blob, digest);
      // An index in an index lists one image's platforms; deeper nesting has no meaning and may be endless.
      if (/index|manifest\.list/.test(asString(item.mediaType)) && depth < 2)
        await visit(bytes, digest, names, depth + 1);
      else images.push(await readManifest(archive, digest, bytes, names, architecture));
    }
  };
  await visit(await read(file, "index.json"), "index.json", [], 0);
  if (images.length === 0) {
    throw refuse(
      "invalid",
      "index.json",
      `it lists no image for ${architecture}`,
      "Save the image for this architecture",
    );
  }
  return images;
};

const readManifest = async (
  archive: SpooledArchive,
  digest: string,
  manifest: Uint8Array,
  names: readonly string[],
  architecture: string,
): Promise<ArchivedImage> => {
  const parsed = parseJsonObject(manifest, digest);
  const configDigest = asString(asObject(parsed.config).digest);
  const configBytes = await read(requireBlob(archive, configDigest), configDigest);
  const config = parseImageConfig(configBytes, configDigest);
  requireArchitecture(config, architecture);
  const layers = asArray(parsed.layers).map((layer) => requireBlob(archive, asString(asObject(layer).digest)));
  return { digest, manifest, configDigest, configBytes, config, names, layers: pairLayers(config, layers) };
};

const pairLayers = (config: ImageConfigFile, files: readonly SpooledFile[]) => {
  if (files.length !== config.diffIds.length) {
    const reason = `it has ${files.length} layers where its configuration lists ${config.diffIds.length}`;
    throw refuse("invalid", "layers", reason, REMEDY);
  }
  return files.map((file, i) => ({ diffId: config.diffIds[i]!, path: file.path }));
};

const requireEntry = (archive: SpooledArchive, name: string): SpooledFile => {
  const file = archive.get(posix.normalize(name));
  if (file !== undefined) return file;
  throw refuse("invalid", "archive", `the file "${name}" that it mentions is missing`, REMEDY);
};

const requireBlob = (archive: SpooledArchive, digest: string): SpooledFile => {
  if (!isDigest(digest)) throw refuse("invalid", "archive", `"${digest}" is not a sha256 digest`, REMEDY);
  const file = requireEntry(archive, `blobs/sha256/${digest.slice("sha256:".length)}`);
  if (file.digest === digest) return file;
  throw refuse(
    "invalid",
    digest,
    `its content has the digest ${file.digest}`,
    "Copy or save the archive again: it is damaged",
  );
};

const requireArchitecture = (config: ImageConfigFile, architecture: string): void => {
  if (config.architecture === "" || config.architecture === architecture) return;
  const reason = `the image is for ${config.architecture}, this node is ${architecture}`;
  throw refuse("unsupported", "architecture", reason, `Load the image's ${architecture} variant`);
};

/** containerd and Docker write the whole name; others a whole name or only a tag into ref.name, and a tag names nothing. */
const annotatedNames = (annotations: Readonly<Record<string, unknown>>): readonly string[] => {
  const whole = asString(annotations["io.containerd.image.name"]);
  const ref = asString(annotations["org.opencontainers.image.ref.name"]);
  return namesOf([whole, /[:/]/.test(ref) ? ref : ""]);
};

const namesOf = (texts: readonly unknown[]): readonly string[] => [
  ...new Set(texts.map((text) => canonicalName(asString(text))).filter((name) => name !== undefined)),
];

const read = async (file: SpooledFile, where: string): Promise<Uint8Array> => {
  if (file.sizeBytes <= MAX_JSON_BYTES) return readFile(file.path);
  throw refuse("invalid", where, `it has ${file.sizeBytes} bytes, a description has at most ${MAX_JSON_BYTES}`, REMEDY);
};

const sha256 = (bytes: Uint8Array): string => `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
