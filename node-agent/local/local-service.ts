// What the agent answers on its own socket: membership, images, information.
import { refuse } from "#base/errors.ts";
import type { ImageStore } from "#node-agent/images/store.ts";
import type { ClusterNode } from "#node-agent/local/node.ts";
import type { LoadImageRequest, NodeLocalDefinition } from "#proto/gen/node.ts";
import type { NodeDescription } from "#proto/gen/types.ts";
import type { Handlers } from "#proto/rpc/server.ts";

export type LocalOptions = {
  readonly node: ClusterNode;
  readonly images: ImageStore;
  readonly description: () => Promise<NodeDescription>;
  readonly running: () => number;
  readonly imageInUse: (digest: string) => boolean;
  readonly version: string;
};

async function* bytesOf(requests: AsyncIterable<LoadImageRequest>): AsyncGenerator<Uint8Array> {
  for await (const { data } of requests) yield data;
}

export const createLocalService = ({
  node,
  images,
  description,
  running,
  imageInUse,
  version,
}: LocalOptions): Handlers<NodeLocalDefinition> => ({
  init: (request) => node.init(request),
  join: (request) => node.join(request),
  async leave({ force }) {
    await node.leave(force);
    return {};
  },
  async unlock({ unlockKey }) {
    await node.unlock(unlockKey);
    return {};
  },
  recover: (request) => node.recover(request),
  restore: (pieces) => node.restore(pieces),
  async info() {
    return {
      ...node.info(),
      description: await description(),
      version,
      containersRunning: running(),
      agentPid: process.pid,
    };
  },
  loadImage: async (requests) => ({ loaded: await images.load(bytesOf(requests)) }),
  listImages: async () => ({ images: images.list().map((image) => ({ ...image, inUse: imageInUse(image.digest) })) }),
  async removeImage({ ref, force }) {
    const { untagged, deleted } = await images.remove(ref, { force, inUse: imageInUse });
    return { untagged: [...untagged], deleted: [...deleted] };
  },
  async tagImage({ source, target }) {
    if (target === "") throw refuse("invalid", "target", "it is empty", "tsctl image tag SOURCE TARGET");
    await images.tag(source, target);
    return {};
  },
});
