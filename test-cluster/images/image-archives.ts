// Makes the test images' docker archives from the recipes; the same packages give the same bytes.
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, posix } from "node:path";
import { promisify } from "node:util";
import { type Header, pack } from "tar-stream";
import { findLibrary, librariesOf, realPathInside, unpackPackages } from "./debian-root.ts";
import { BASE, type LayerRecipe, layers, type Recipe, recipes } from "./recipe.ts";

/** Path in the image → entry; sorted by path when written. */
type Content = Map<string, Partial<Header> & { content?: Uint8Array }>;

/** Builds all images into the folder `target`, which appears only when everything is done. */
export const buildImages = async (target: string): Promise<void> => {
  mkdirSync(dirname(target), { recursive: true });
  const work = mkdtempSync(`${target}.`);
  try {
    const root = await unpackPackages([...new Set(Object.values(layers).flatMap((layer) => layer.packages))], work);
    const base = await layerContent(root, layers[BASE]!);
    await addApplets(root, base);
    const built = new Map<string, Uint8Array>([[BASE, await layerTar(base)]]);
    for (const [name, recipe] of Object.entries(layers)) {
      if (name !== BASE) built.set(name, await layerTar(withoutBase(await layerContent(root, recipe), base)));
    }
    const out = join(work, "out");
    mkdirSync(out);
    for (const recipe of recipes) {
      const archive = await imageTar(
        recipe,
        [BASE, ...recipe.layers].map((name) => built.get(name)!),
      );
      writeFileSync(join(out, archiveName(recipe.name)), archive);
    }
    rmSync(target, { recursive: true, force: true });
    renameSync(out, target);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
};

/** "localhost/web:1" → "web-1.tar" */
export const archiveName = (image: string): string => `${posix.basename(image).replace(":", "-")}.tar`;

const layerContent = async (root: string, recipe: LayerRecipe): Promise<Content> => {
  const content: Content = new Map();
  const copy = (path: string): void => {
    // Kept under the name it is loaded by, in the folder that the base's bin, lib, … links lead to.
    const place = posix.join(realPathInside(root, posix.dirname(path)), posix.basename(path));
    content.set(place, { mode: 0o755, content: readFileSync(join(root, realPathInside(root, path))) });
  };
  for (const program of recipe.programs) {
    copy(program);
    for (const library of await librariesOf(root, program)) copy(library);
  }
  for (const name of recipe.libraries ?? []) copy(findLibrary(root, name));
  for (const [path, text] of Object.entries(recipe.files ?? {}))
    content.set(path, { mode: 0o644, content: Buffer.from(text) });
  for (const [path, mode] of Object.entries(recipe.directories ?? {})) content.set(path, { mode, type: "directory" });
  for (const [path, linkname] of Object.entries(recipe.symlinks ?? {}))
    content.set(path, { type: "symlink", linkname });
  return content;
};

const addApplets = async (root: string, base: Content): Promise<void> => {
  const { stdout } = await promisify(execFile)(join(root, "usr/bin/busybox"), ["--list"]);
  for (const applet of stdout.split("\n")) {
    const path = `usr/bin/${applet}`;
    if (applet !== "" && !base.has(path)) base.set(path, { type: "symlink", linkname: "busybox" });
  }
};

const withoutBase = (content: Content, base: Content): Content =>
  new Map([...content].filter(([path, entry]) => entry.content === undefined || base.get(path)?.content === undefined));

const layerTar = (content: Content): Promise<Uint8Array> => {
  const complete = new Map(content);
  for (const path of content.keys()) {
    for (let dir = posix.dirname(path); dir !== "."; dir = posix.dirname(dir)) {
      if (!complete.has(dir)) complete.set(dir, { mode: 0o755, type: "directory" });
    }
  }
  return tar([...complete].sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, entry]) => ({ name, ...entry })));
};

const imageTar = (recipe: Recipe, layerTars: readonly Uint8Array[]): Promise<Uint8Array> => {
  const names = layerTars.map((bytes) => `${sha256(bytes)}.tar`);
  const config = Buffer.from(
    JSON.stringify({
      architecture: "amd64",
      os: "linux",
      created: new Date(0).toISOString(),
      config: recipe.config,
      rootfs: { type: "layers", diff_ids: layerTars.map((bytes) => `sha256:${sha256(bytes)}`) },
    }),
  );
  const manifest = [{ Config: `${sha256(config)}.json`, RepoTags: [recipe.name], Layers: names }];
  return tar([
    { name: "manifest.json", content: Buffer.from(JSON.stringify(manifest)) },
    { name: `${sha256(config)}.json`, content: config },
    ...layerTars.map((content, i) => ({ name: names[i]!, content })),
  ]);
};

/** Owners, times and order depend on nothing but the content. */
const tar = async (
  entries: readonly (Partial<Header> & { name: string; content?: Uint8Array })[],
): Promise<Uint8Array> => {
  const packer = pack();
  for (const { content, ...header } of entries) {
    const full = { uid: 0, gid: 0, mtime: new Date(0), ...header };
    if (content === undefined) packer.entry(full);
    else packer.entry(full, content);
  }
  packer.finalize();
  const chunks: Uint8Array[] = [];
  for await (const chunk of packer) chunks.push(chunk as Uint8Array);
  return Buffer.concat(chunks);
};

const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");
