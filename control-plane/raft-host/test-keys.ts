// Data keys for tests and simulations: in memory, the same for the same seed.
import { createHash } from "node:crypto";
import type { DataKeys } from "#control-plane/raft-host/keys.ts";

const bytes = (text: string): Uint8Array => createHash("sha256").update(text).digest();

/** Another seed for each life of a member: its salts must be new ones. */
export const testKeys = (seed = 1, id = 1): DataKeys => {
  let salts = 0;
  const key = (of: number) => bytes(`key ${of}`);
  const current = { id, key: key(id) };
  return {
    current: () => current,
    get: key,
    salt: () => bytes(`salt ${seed} ${++salts}`),
    retain: () => {},
  };
};
