// Image archives made by hand for the tests.
import { createHash } from "node:crypto";
import { type Header, pack } from "tar-stream";

export type Entry = Partial<Header> & { name: string; content?: string | Uint8Array };

export const tar = async (entries: readonly Entry[]): Promise<Buffer> => {
  const packer = pack();
  for (const { content, ...header } of entries) {
    const full = { mtime: new Date(1_000_000_000_000), uid: 0, gid: 0, ...header };
    if (content === undefined) packer.entry(full);
    else packer.entry(full, content);
  }
  packer.finalize();
  const chunks: Uint8Array[] = [];
  for await (const chunk of packer) chunks.push(chunk as Uint8Array);
  return Buffer.concat(chunks);
};

export const digestOf = (bytes: Uint8Array): string => `sha256:${createHash("sha256").update(bytes).digest("hex")}`;

export const configOf = (layers: readonly Uint8Array[], config: object = {}): Buffer =>
  Buffer.from(
    JSON.stringify({
      created: "2026-01-02T03:04:05Z",
      config,
      rootfs: { type: "layers", diff_ids: layers.map(digestOf) },
    }),
  );

/** What `docker save` writes, for one image. */
export const dockerArchive = async (
  names: readonly string[],
  layers: readonly Uint8Array[],
  config: Uint8Array = configOf(layers),
): Promise<Buffer> =>
  tar([
    ...layers.map((content, i) => ({ name: `${i}/layer.tar`, content })),
    { name: "config.json", content: config },
    {
      name: "manifest.json",
      content: JSON.stringify([
        { Config: "config.json", RepoTags: names, Layers: layers.map((_, i) => `${i}/layer.tar`) },
      ]),
    },
  ]);

/** An OCI layout of one image, whose layers `compress` packs. */
export const ociLayout = async (
  name: string,
  layers: readonly Uint8Array[],
  compress: (layer: Uint8Array) => Uint8Array,
  damage: (blob: Uint8Array) => Uint8Array = (blob) => blob,
): Promise<Buffer> => {
  const packed = layers.map(compress);
  const config = configOf(layers, { Cmd: ["/bin/true"] });
  const manifest = Buffer.from(
    JSON.stringify({
      config: { digest: digestOf(config) },
      layers: packed.map((layer) => ({ digest: digestOf(layer) })),
    }),
  );
  const index = {
    manifests: [
      { digest: digestOf(manifest), platform: { architecture: "other", os: "linux" } },
      { digest: digestOf(manifest), annotations: { "org.opencontainers.image.ref.name": name } },
    ],
  };
  return tar([
    { name: "oci-layout", content: '{"imageLayoutVersion":"1.0.0"}' },
    { name: "index.json", content: JSON.stringify(index) },
    ...[config, manifest].map((blob) => ({ name: `blobs/sha256/${digestOf(blob).slice(7)}`, content: blob })),
    ...packed.map((blob) => ({ name: `blobs/sha256/${digestOf(blob).slice(7)}`, content: damage(blob) })),
  ]);
};

/** The bytes in pieces that fit no boundary of the format. */
export async function* inPieces(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += 1000) yield bytes.subarray(at, at + 1000);
}
