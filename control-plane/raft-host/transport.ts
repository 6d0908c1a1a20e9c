// How members reach each other, as the host sees it. Messages may be lost, repeated and reordered; raft copes.
import type { Message, SnapshotMeta } from "#control-plane/raft/types.ts";
import type { Peer } from "#control-plane/raft-host/peers.ts";
import type { SnapshotId } from "#control-plane/raft-host/snapshot-incoming.ts";

/** From the byte `offset` on. */
export type SnapshotPieces = (offset: number) => AsyncIterable<Uint8Array>;

export type SnapshotReceipt = {
  /** Where the sender has to begin: so much is here from a connection that broke. */
  readonly offset: number;
  /** Resolves when the snapshot is complete, checked and given to the core. `term`: the sender's. */
  receive(term: number, pieces: AsyncIterable<Uint8Array>): Promise<void>;
};

export type RaftTransport = {
  /** One batch for one member. Never waits and never throws: what can't be sent is dropped and reported. */
  send(to: number, messages: readonly Message[]): void;
  /** A snapshot in pieces. Resolves when the member has it complete and checked. */
  sendSnapshot(to: number, term: number, meta: SnapshotMeta, pieces: SnapshotPieces): Promise<void>;
  /** All other members; also after a change of address. */
  setPeers(peers: readonly Peer[]): void;
  /** That member has just connected to this one: a connection to it succeeds now. */
  arrived(id: number): void;
  close(): void;
};

/** What a transport calls. */
export type TransportHost = {
  readonly raftId: number;
  readonly clusterId: string;
  receive(messages: readonly Message[]): void;
  /** A connection brings a snapshot. `resumes`: the sender can begin in the middle. */
  beginSnapshot(id: SnapshotId, resumes: boolean): SnapshotReceipt;
  unreachable(id: number): void;
  /** That member has just connected to this one. */
  arrived(id: number): void;
  /** A connection that stood, to or from that member, was ended from its side. */
  lost(id: number): void;
  /** Whether that id was a member and is none any more. */
  isRemoved(id: number): boolean;
  /** Another member says that this one was removed. */
  removedByOthers(): void;
  peers(): readonly Peer[];
  /** Leader only, as in `ReplicatedLog`. */
  addMember(nodeId: string, addr: string): Promise<number>;
  removeMember(raftId: number): Promise<void>;
};

export type ConnectTransport = (host: TransportHost) => RaftTransport;
