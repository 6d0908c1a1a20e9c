import type { Image } from "#proto/gen/node.ts";
import type { Verb } from "#tsctl/cli.ts";
import { ago, humanSize } from "#tsctl/output/human.ts";
import { type ListOptions, listOptions, printList, type Row } from "#tsctl/output/list.ts";
import { naturalOrder } from "#tsctl/output/natural-order.ts";

const LAYOUT = {
  headers: {
    Repository: "REPOSITORY",
    Tag: "TAG",
    ID: "IMAGE ID",
    CreatedSince: "CREATED",
    Size: "SIZE",
    Layers: "LAYERS",
    InUse: "IN USE",
    Digest: "DIGEST",
  },
  columns: ["Repository", "Tag", "ID", "CreatedSince", "Size"],
  key: "ID",
};

/** "localhost:5000/web:1" is "localhost:5000/web" and "1": the last colon, if no slash follows. */
export const splitName = (name: string): [string, string] => {
  const match = /^(.*):([^/:]+)$/.exec(name);
  return match ? [match[1]!, match[2]!] : [name, "<none>"];
};

/** One row for each name of each image. */
export const imageRows = (images: readonly Image[], now: number, options: { trunc: boolean }): Row[] =>
  images
    .flatMap((image) =>
      (image.names.length > 0 ? image.names : ["<none>"]).map((name) => {
        const [Repository, Tag] = splitName(name);
        return {
          Repository,
          Tag,
          ID: options.trunc ? image.digest.replace(/^sha256:/, "").slice(0, 12) : image.digest,
          CreatedSince: image.createdAt === 0 ? "N/A" : ago(image.createdAt, now),
          Size: humanSize(image.sizeBytes),
          Layers: image.layers,
          InUse: image.inUse,
          Digest: image.digest,
        };
      }),
    )
    .sort((a, b) => naturalOrder(a.Repository, b.Repository) || naturalOrder(a.Tag, b.Tag));

export const imageLs: Verb = (noun, cli) =>
  listOptions(noun.command("ls").alias("list").description("List the images on the node that answers")).action(
    async (options: ListOptions) => {
      const { images } = await (await cli.local()).listImages({});
      printList(cli, LAYOUT, imageRows(images, cli.now(), options), options);
    },
  );
