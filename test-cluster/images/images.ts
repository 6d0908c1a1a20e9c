// The images that tests run: built on first use, kept in build/images/<hash of what they are built from>/.
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join, resolve } from "node:path";
import { archiveName, buildImages } from "./image-archives.ts";
import { recipes } from "./recipe.ts";

export type TestImage = { readonly name: string; readonly archive: string };

const cache = resolve(import.meta.dirname, "../../build/images");
const sources = ["recipe.ts", "image-archives.ts", "debian-root.ts"].map((name) =>
  readFileSync(join(import.meta.dirname, name)),
);
const key = createHash("sha256").update(Buffer.concat(sources)).digest("hex").slice(0, 16);

export const testImages: readonly TestImage[] = recipes.map(({ name }) => ({
  name,
  archive: join(cache, key, archiveName(name)),
}));

/** Builds the images unless they are there. Needs root, apt and its mirror for the first time. */
export const ensureImages = async (): Promise<{ images: readonly TestImage[]; built: boolean }> => {
  const built = !testImages.every((image) => existsSync(image.archive));
  if (built) {
    await buildImages(join(cache, key));
    // Older ones only: a name with a dot is another process's build under way.
    for (const name of readdirSync(cache))
      if (name !== key && !name.includes(".")) rmSync(join(cache, name), { recursive: true });
  }
  return { images: testImages, built };
};
