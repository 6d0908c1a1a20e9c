// A cluster of one manager from a backup: the same cluster id, CA, tokens, networks, services and addresses.
import { createReadStream } from "node:fs";
import type { Logger } from "#base/log.ts";
import type { NodeIdentity } from "#base/node/identity-files.ts";
import { createKeyAndRequest, issueCertificate } from "#base/node/pki.ts";
import { type BackupContents, contentsOf, stateOf } from "#control-plane/backup/contents.ts";
import { decodeBackup, openBackup } from "#control-plane/backup/format.ts";
import { DEFAULT_VALIDITY_MS } from "#control-plane/identity/ca-service.ts";
import { registerNode } from "#control-plane/operations/index.ts";
import { beginFromSnapshot } from "#control-plane/raft-host/fresh-member.ts";
import type { DataKeys } from "#control-plane/raft-host/keys.ts";
import { nodeDisk } from "#control-plane/raft-host/node-disk.ts";
import { putInPlace, settleFolders, unfinishedFolder } from "#control-plane/recovery/folder-swap.ts";
import { becomeOnlyManager, INDEX_GAP, rewrite } from "#control-plane/recovery/only-manager.ts";
import { RAFT_ID_GAP, SEGMENT_BYTES } from "#control-plane/recovery/recover.ts";
import type { Tx, WriteContext } from "#control-plane/state/types.ts";
import { NodeRole } from "#proto/gen/types.ts";

export type Restore = {
  /** Path of the backup. */
  readonly backup: string;
  /** Of a cluster with autolock, as it was when the backup was made; else empty. */
  readonly unlockKey: string;
  readonly dataDir: string;
  readonly nodeId: string;
  readonly hostname: string;
  /** This host's address, and host:port of its manager. */
  readonly addr: string;
  readonly advertise: string;
  /** Keys for the files in a new folder, wrapped for the node that has this identity. */
  readonly keysOf: (dir: string, identity: NodeIdentity) => DataKeys;
  readonly context: WriteContext;
  readonly logger: Logger;
};

export type Restored = { readonly identity: NodeIdentity; readonly contents: BackupContents };

/** The node enters, alone, as a manager. One that had its address was this host in a former life. */
const enter = (tx: Tx, context: WriteContext, { nodeId, hostname, addr }: Restore): void => {
  for (const node of [...tx.all("node")]) if (node.status?.addr === addr) tx.delete("node", node.id);
  registerNode(tx, context, { id: nodeId, hostname, role: NodeRole.MANAGER, addr });
  becomeOnlyManager(tx, nodeId);
};

/** Makes the manager's folder. The node's identity is for the caller to store: with it the node is a member. */
export const restoreBackup = async (options: Restore): Promise<Restored> => {
  const { dataDir, nodeId, advertise, keysOf, context, logger } = options;
  settleFolders(dataDir);
  const backup = openBackup(await decodeBackup(createReadStream(options.backup)), options.unlockKey);
  const state = stateOf(backup);
  const contents = contentsOf(backup, state);
  const { caKeyPem, caCertificatePem, id: clusterId, spec } = state.cluster()!;
  const index = backup.header.index + INDEX_GAP;
  rewrite(state, index, context, (tx) => enter(tx, context, options));
  const { keyPem, csrPem } = await createKeyAndRequest();
  const caPem = caCertificatePem.toString();
  const certificatePem = await issueCertificate(
    { keyPem: caKeyPem.toString(), certificatePem: caPem },
    csrPem,
    { nodeId, clusterId, role: "manager" },
    context.now,
    spec?.certValidityMs || DEFAULT_VALIDITY_MS,
  );
  const identity = { keyPem, certificatePem, caPem };
  const dir = unfinishedFolder(dataDir);
  nodeDisk.makeDirectory(dir);
  const { raftIds } = backup.header;
  await beginFromSnapshot({
    ...{ dir, disk: nodeDisk, logger, segmentBytes: SEGMENT_BYTES, keys: keysOf(dir, identity), clusterId, index },
    self: { raftId: Math.max(0, ...raftIds) + RAFT_ID_GAP, nodeId, addr: advertise },
    term: 1,
    removed: raftIds,
    chunks: state.snapshot(),
  });
  putInPlace(dataDir, "raft.before-restore");
  return { identity, contents };
};
