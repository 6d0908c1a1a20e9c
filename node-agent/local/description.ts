// What this node says about itself.
import { arch, availableParallelism, release, totalmem } from "node:os";
import { VERSION } from "#base/version.ts";
import { listListeners } from "#net/kernel/listeners.ts";
import type { ImageStore } from "#node-agent/images/store.ts";
import { hostRoutes } from "#node-agent/local/host-routes.ts";
import type { Wiring } from "#node-agent/wiring/wiring.ts";
import { type HostPort, type NodeDescription, PortProtocol } from "#proto/gen/types.ts";

const ARCHITECTURES: Readonly<Record<string, string>> = { x64: "amd64", arm64: "arm64" };

/** Ports that programs of this host have; this process keeps those that are published, and containers are no strangers. */
const hostPorts = (containers: readonly number[]): HostPort[] =>
  listListeners(null, { pids: new Set([process.pid]), trees: new Set(containers) }).map(
    ({ protocol, port, hostIp, owner }) => ({
      protocol: protocol === "udp" ? PortProtocol.UDP : PortProtocol.TCP,
      port,
      hostIp,
      owner,
    }),
  );

export type Described = {
  readonly images: ImageStore;
  readonly labels: Readonly<Record<string, string>>;
  readonly name: string;
  /** The first process of each. */
  readonly containers: readonly number[];
  readonly wiring: Pick<Wiring, "capabilities" | "isOwn" | "portErrors">;
};

export const describeNode = ({ images, labels, name, containers, wiring }: Described): NodeDescription => ({
  hostname: name,
  os: "linux",
  arch: ARCHITECTURES[arch()] ?? arch(),
  resources: { nanoCpus: availableParallelism() * 1e9, memoryBytes: totalmem(), pids: 0 },
  engineVersion: VERSION,
  kernel: release(),
  engineLabels: { ...labels },
  images: images.describe(),
  routes: hostRoutes(null, wiring.isOwn),
  capabilities: { ...wiring.capabilities },
  hostPorts: hostPorts(containers),
  portErrors: [...wiring.portErrors()],
});
