import { refuse } from "#base/errors.ts";
import type { ReadTx } from "#control-plane/state/types.ts";
import type { Node } from "#proto/gen/types.ts";

/** "web", "web:latest" and "localhost/web:latest" name one image; a digest names itself. */
const spellings = (image: string): Set<string> => {
  const [name = "", digest] = image.split("@");
  if (digest !== undefined) return new Set([digest]);
  const tagged = /:[^/]+$/.test(name) ? name : `${name}:latest`;
  const local = tagged.startsWith("localhost/") ? tagged.slice("localhost/".length) : tagged;
  const hub = local.replace(/^(docker\.io\/)?(library\/)?/, "");
  return new Set([tagged, local, `localhost/${local}`, hub, `docker.io/library/${hub}`, `docker.io/${hub}`]);
};

/**
 * The digest of an image that at least one node has, or that `on` has; the nodes hold images, there is no registry.
 */
export const pinImage = (tx: ReadTx, image: string, on?: Node): string => {
  const wanted = spellings(image);
  let pinned: string | undefined;
  for (const node of on === undefined ? tx.all("node") : [on])
    for (const { digest, names } of node.description?.images ?? []) {
      if (!wanted.has(digest) && !names.some((name) => [...spellings(name)].some((s) => wanted.has(s)))) continue;
      // Several nodes may have different builds of one name: the choice must not depend on the order of nodes.
      if (pinned === undefined || digest < pinned) pinned = digest;
    }
  if (pinned === undefined)
    throw refuse(
      "not_found",
      "task.container.image",
      on === undefined
        ? `no node has the image ${image}`
        : `node ${on.description?.hostname || on.id} does not have the image ${image}`,
      on === undefined ? "Load it on the nodes: tsctl image load ARCHIVE" : "Load it there: tsctl image load ARCHIVE",
    );
  return pinned;
};
