// What this node says about itself.
import { arch, availableParallelism, hostname, networkInterfaces, release, totalmem } from "node:os";
import type { ImageStore } from "#node-agent/images/store.ts";
import type { NodeDescription } from "#proto/gen/types.ts";

export const VERSION = "0.1.0";

const ARCHITECTURES: Readonly<Record<string, string>> = { x64: "amd64", arm64: "arm64" };

/** Prefixes on the host's own links; pools that overlap them are refused. Our own bridges are not among them. */
const routes = (isOwn: (ifname: string) => boolean): string[] => {
  const found = new Set<string>();
  for (const [name, infos] of Object.entries(networkInterfaces()))
    if (!isOwn(name))
      for (const { internal, cidr, address } of infos ?? [])
        if (!internal && cidr && !address.startsWith("fe80:")) found.add(cidr);
  return [...found].sort();
};

export const describeNode = (
  images: ImageStore,
  labels: Readonly<Record<string, string>>,
  name: string | undefined,
  capabilities: Readonly<Record<string, string>>,
  isOwn: (ifname: string) => boolean,
): NodeDescription => ({
  hostname: name ?? hostname(),
  os: "linux",
  arch: ARCHITECTURES[arch()] ?? arch(),
  resources: { nanoCpus: availableParallelism() * 1e9, memoryBytes: totalmem(), pids: 0 },
  engineVersion: VERSION,
  kernel: release(),
  engineLabels: { ...labels },
  images: images.describe(),
  routes: routes(isOwn),
  capabilities: { ...capabilities },
  hostPorts: [],
  portErrors: [],
});
