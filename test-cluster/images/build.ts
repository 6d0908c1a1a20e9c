// Builds the test images, or finds them built: `node test-cluster/images/build.ts`.
import { ensureImages } from "./images.ts";

const started = performance.now();
const { images, built } = await ensureImages();
console.log(built ? `Built in ${((performance.now() - started) / 1000).toFixed(1)} s:` : "Cached:");
for (const image of images) console.log(`${image.name}\t${image.archive}`);
