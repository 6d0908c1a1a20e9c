// The keys of this manager's log, opened with what the node has: its private key, or one that it had before a renewal.
import { mkdirSync } from "node:fs";
import { TswarmError } from "#base/errors.ts";
import type { NodeIdentity } from "#base/node/identity-files.ts";
import {
  createKeyFile,
  hasKeyFile,
  type KeyFile,
  nodeWrappingKey,
  openKeyFile,
} from "#control-plane/raft-host/key-file.ts";
import { nodeDisk } from "#control-plane/raft-host/node-disk.ts";
import { readRaftIdentity } from "#control-plane/raft-host/raft-log.ts";

/** `dir`: the member's folder, which is made when it is not there. */
export const openMemberKeys = (dir: string, { keyPem, formerKeyPems = [] }: NodeIdentity): KeyFile => {
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const own = nodeWrappingKey(keyPem);
  if (hasKeyFile(nodeDisk, dir)) {
    const keys = openKeyFile(nodeDisk, dir, [own, ...formerKeyPems.map(nodeWrappingKey)]);
    if (keys.openedBy.join() !== own.id) keys.wrap([own]);
    return keys;
  }
  if (readRaftIdentity(dir)?.encrypted)
    throw new TswarmError("internal", `${dir} has lost its file "keys": without it the log can't be read`);
  return createKeyFile(nodeDisk, dir, [own]);
};
