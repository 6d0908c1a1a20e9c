import type { Cluster } from "#proto/gen/types.ts";

/** The cluster as clients may see it: the CA's key never leaves the managers, tokens and unlock key only by their own calls. */
export const withoutSecrets = (cluster: Cluster): Cluster => ({
  ...cluster,
  caKeyPem: Buffer.alloc(0),
  joinTokenManager: "",
  joinTokenWorker: "",
  unlockKey: "",
});
