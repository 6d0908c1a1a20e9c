// A member's folder: `lock`, `wal/`, `snap/`. Opening puts together what the core restarts from.
import path from "node:path";
import { TswarmError } from "#base/errors.ts";
import type { Logger } from "#base/log.ts";
import { encodeConfChange } from "#control-plane/raft/conf-change.ts";
import type { Entry, HardState, Restart } from "#control-plane/raft/types.ts";
import type { Disk } from "#control-plane/raft-host/disk.ts";
import type { DataKeys } from "#control-plane/raft-host/keys.ts";
import { decodePeers, encodePeer, encodePeers, type Peer } from "#control-plane/raft-host/peers.ts";
import { checkSnapshot, listSnapshots } from "#control-plane/raft-host/snapshot-file.ts";
import type { SnapshotHeader } from "#control-plane/raft-host/snapshot-stream.ts";
import { entryRecords, openWal, type Wal } from "#control-plane/raft-host/wal.ts";
import { readWalHeader, type WalContents } from "#control-plane/raft-host/wal-read.ts";

/** `members`: the first members of a new cluster, this one among them. `join`: what the leader answered to the join. */
export type Beginning =
  | { readonly kind: "bootstrap"; readonly members: readonly Peer[] }
  | { readonly kind: "join"; readonly peers: readonly Peer[] };

export type MemberFiles = {
  readonly raftId: number;
  readonly clusterId: string;
  readonly peers: readonly Peer[];
  readonly restart: Restart;
  readonly snapshot: { readonly file: string; readonly header: SnapshotHeader } | null;
  readonly wal: Wal;
  readonly snapDir: string;
  readonly keys: DataKeys;
  readonly unlock: () => void;
};

export type OpenMember = {
  readonly dir: string;
  readonly disk: Disk;
  readonly logger: Logger;
  readonly segmentBytes: number;
  readonly keys: DataKeys;
  /** Used only when the folder is new; an old one must agree with the ids. */
  readonly raftId: number;
  readonly clusterId: string;
  readonly beginning: Beginning | null;
};

export const openMemberFiles = async (options: OpenMember): Promise<MemberFiles> => {
  const { dir, disk, logger, keys } = options;
  const snapDir = path.join(dir, "snap");
  disk.makeDirectory(snapDir);
  const unlock = disk.lock(dir);
  try {
    for (const name of disk.list(snapDir)) if (name.endsWith(".tmp")) disk.remove(path.join(snapDir, name));
    const { raftId, clusterId, beginning } = options;
    const walOptions = { dir: path.join(dir, "wal"), disk, segmentBytes: options.segmentBytes, logger, keys };
    const { wal, contents } = await openWal(walOptions, beginning === null ? null : { raftId, clusterId });
    try {
      const { header } = contents;
      const own = { raftId, clusterId, snapDir, keys, unlock };
      if (header !== null && (header.raftId !== raftId || header.clusterId !== clusterId)) {
        const found = `${header.raftId} of cluster ${header.clusterId}`;
        throw new TswarmError("conflict", `${dir} belongs to member ${found}, not ${raftId} of ${clusterId}`);
      }
      // Also when an earlier start was interrupted while it wrote the first records.
      if (contents.peers === null || (beginning?.kind === "bootstrap" && isBare(contents))) {
        if (beginning === null) throw new TswarmError("not_found", `${dir} was never completely set up`);
        return { ...(await begin(wal, options)), ...own, wal };
      }
      const snapshot = await newestSnapshot(disk, snapDir, logger, keys);
      const restart = combine(dir, contents, snapshot?.header ?? null);
      if (snapshot !== null && !leadsTo(contents, snapshot.header)) {
        await replaceLog(wal, snapshot.header, restart);
        return { ...own, peers: decodePeers(snapshot.header.peers), restart, snapshot, wal };
      }
      return { ...own, peers: decodePeers(contents.peers), restart, snapshot, wal };
    } catch (error) {
      wal.abandon();
      throw error;
    }
  } catch (error) {
    unlock();
    throw error;
  }
};

/** Who the folder belongs to, and whether its keys are needed to read it; null when there is no log in it. */
export const readIdentity = (
  disk: Disk,
  dir: string,
): { readonly raftId: number; readonly clusterId: string; readonly encrypted: boolean } | null => {
  const walDir = path.join(dir, "wal");
  disk.makeDirectory(walDir);
  const header = readWalHeader(disk, walDir);
  return header === null
    ? null
    : { raftId: header.raftId, clusterId: header.clusterId, encrypted: header.key !== null };
};

const begin = async (wal: Wal, options: OpenMember): Promise<Pick<MemberFiles, "peers" | "restart" | "snapshot">> => {
  const beginning = options.beginning!;
  const first = beginning.kind === "bootstrap" ? [...beginning.members].sort((a, b) => a.raftId - b.raftId) : [];
  if (beginning.kind === "bootstrap" && !first.some((p) => p.raftId === options.raftId)) {
    throw new TswarmError("invalid", `member ${options.raftId} is not among the first members`);
  }
  // The first members are committed entries of term 1, the same on each of them, so later members find them in the log.
  const entries: Entry[] = first.map((peer, i) => ({
    term: 1,
    index: i + 1,
    type: "conf",
    data: encodeConfChange({ kind: "add-voter", id: peer.raftId, context: encodePeer(peer) }),
  }));
  const hardState: HardState | null = first.length > 0 ? { term: 1, vote: 0, commit: entries.length } : null;
  const peers = beginning.kind === "bootstrap" ? first : beginning.peers;
  wal.append([
    ...entryRecords(entries),
    ...(hardState === null ? [] : [{ kind: "hard-state", hardState } as const]),
    // Last: where the members are, everything before them is there too.
    { kind: "peers", data: encodePeers(peers) },
  ]);
  await wal.sync();
  return { peers, restart: { hardState, snapshot: null, entries }, snapshot: null };
};

const newestSnapshot = async (
  disk: Disk,
  dir: string,
  logger: Logger,
  keys: DataKeys,
): Promise<MemberFiles["snapshot"]> => {
  for (const file of listSnapshots(disk, dir)) {
    try {
      return { file, header: await checkSnapshot(disk, file, keys) };
    } catch (error) {
      if (error instanceof TswarmError && error.code === "unsupported") throw error;
      logger.error("skipped a damaged snapshot", { file, error });
    }
  }
  return null;
};

/** The log after the snapshot. A snapshot the log does not lead to replaces it: that is a received one. */
const combine = (dir: string, contents: WalContents, header: SnapshotHeader | null): Restart => {
  const { entries, hardState } = contents;
  const base = header?.meta.index ?? 0;
  const first = entries[0]?.index ?? base + 1;
  const needed = Math.max(contents.snapshot?.index ?? 0, first - 1);
  if (base < needed && (entries.at(-1)?.index ?? 0) !== 0 && first > base + 1) {
    throw new TswarmError(
      "internal",
      `${dir}: entries ${base + 1} to ${first - 1} are in no snapshot and not in the log`,
    );
  }
  if (entries.length === 0 && base < needed) {
    throw new TswarmError("internal", `${dir}: the snapshot of index ${needed} is missing or damaged`);
  }
  const atBase = entries[base - first];
  const follows = header === null || first === base + 1 || atBase?.term === header.meta.term;
  return {
    hardState: withTermOf(header, hardState),
    snapshot: header?.meta ?? null,
    entries: follows ? entries.slice(base + 1 - first) : [],
  };
};

/** The peers of the first batch are there, the entries and hard state that were written with them are not. */
const isBare = ({ entries, snapshot, hardState }: WalContents): boolean =>
  entries.length === 0 && snapshot === null && hardState === null;

/** Not by the log's own record of the snapshot: a new segment repeats it before the entries behind it are forgotten. */
const leadsTo = ({ entries, snapshot }: WalContents, { meta }: SnapshotHeader): boolean => {
  const first = entries[0]?.index;
  if (first === undefined) return snapshot !== null && snapshot.index >= meta.index;
  return first === meta.index + 1 || entries[meta.index - first]?.term === meta.term;
};

/**
 * What a crash prevented: a received snapshot has its name, but the log does not say yet that it starts anew after it. Without
 * that, the next entries would follow a gap, or entries that another leader has replaced.
 */
const replaceLog = async (wal: Wal, { meta, peers }: SnapshotHeader, { hardState }: Restart): Promise<void> => {
  wal.append([
    { kind: "snapshot", index: meta.index, term: meta.term, reset: true },
    { kind: "peers", data: peers },
    ...(hardState === null ? [] : [{ kind: "hard-state", hardState } as const]),
  ]);
  await wal.sync();
};

/** A crash between the arrival of a snapshot and the next write may leave a term older than the snapshot's. */
const withTermOf = (header: SnapshotHeader | null, hardState: HardState | null): HardState | null =>
  header === null || (hardState !== null && hardState.term >= header.meta.term)
    ? hardState
    : { term: header.meta.term, vote: 0, commit: header.meta.index };
