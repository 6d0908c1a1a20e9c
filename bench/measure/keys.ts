// Members of a bench encrypt their files as managers do, with a key that is nobody's secret.
import { systemRandom } from "#base/node/system.ts";
import type { DataKeys } from "#control-plane/raft-host/keys.ts";
import { testKeys } from "#control-plane/raft-host/test-keys.ts";

/** Each life of a member needs salts that no life before it had. */
export const benchKeys = (): DataKeys => testKeys(systemRandom.int(2 ** 48));
