import type { Cluster } from "#proto/gen/types.ts";

/** The cluster as clients may see it: the CA's key never leaves the managers, tokens only by their own call. */
export const withoutSecrets = (cluster: Cluster): Cluster => ({
  ...cluster,
  caKeyPem: Buffer.alloc(0),
  joinTokenManager: "",
  joinTokenWorker: "",
});
