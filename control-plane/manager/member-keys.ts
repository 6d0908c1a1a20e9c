// The keys of this manager's log, opened with what the node has: the cluster's unlock key, the node's private key, or one that
// it had before a renewal.
import { mkdirSync } from "node:fs";
import { TswarmError } from "#base/errors.ts";
import type { NodeIdentity } from "#base/node/identity-files.ts";
import {
  createKeyFile,
  hasKeyFile,
  type KeyFile,
  nodeWrappingKey,
  openKeyFile,
  unlockWrappingKey,
} from "#control-plane/raft-host/key-file.ts";
import { nodeDisk } from "#control-plane/raft-host/node-disk.ts";
import { readRaftIdentity } from "#control-plane/raft-host/raft-log.ts";

/** `dir`: the member's folder, which is made when it is not there. `unlockKey`: empty where the node is not locked. */
export const openMemberKeys = (dir: string, { keyPem, formerKeyPems = [] }: NodeIdentity, unlockKey = ""): KeyFile => {
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const unlock = unlockKey === "" ? [] : [unlockWrappingKey(unlockKey)];
  const own = nodeWrappingKey(keyPem);
  if (hasKeyFile(nodeDisk, dir))
    return openKeyFile(nodeDisk, dir, [...unlock, own, ...formerKeyPems.map(nodeWrappingKey)]);
  if (readRaftIdentity(dir)?.encrypted)
    throw new TswarmError("internal", `${dir} has lost its file "keys": without it the log can't be read`);
  return createKeyFile(nodeDisk, dir, unlock[0] ?? own);
};
