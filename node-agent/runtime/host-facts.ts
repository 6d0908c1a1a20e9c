// What this host lets its containers have, read once.
import { existsSync, readFileSync } from "node:fs";
import { TswarmError } from "#base/errors.ts";
import type { HostFacts } from "./oci/bundle.ts";
import { capabilitiesOfMask } from "./oci/capabilities.ts";

/** Static programs only: they run in every image. */
const INITS = ["/usr/bin/tini-static", "/usr/libexec/podman/catatonit", "/usr/bin/catatonit", "/usr/bin/docker-init"];

export const hostFacts = (cgroupParent: string): HostFacts => {
  const { arch } = process;
  if (arch !== "x64" && arch !== "arm64")
    throw new TswarmError("unsupported", `containers: no system call filter for ${arch}`);
  const mask = /^CapBnd:\s*([0-9a-f]+)$/m.exec(readFileSync("/proc/self/status", "latin1"))?.[1] ?? "0";
  const openFiles = /^Max open files\s+\S+\s+(\S+)/m.exec(readFileSync("/proc/self/limits", "latin1"))?.[1];
  return {
    arch,
    capabilities: capabilitiesOfMask(mask),
    maxOpenFiles: openFiles === undefined || openFiles === "unlimited" ? 2 ** 20 : Number(openFiles),
    cgroupParent,
    initPath: INITS.find((path) => existsSync(path)),
  };
};
