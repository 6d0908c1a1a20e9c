// The replicated log as everything above it sees it. Engines: raft (control-plane/raft-host), and memory-log.ts for tests.
// State, API and controllers know only this file.

/** What the log delivers, in order, exactly once for each process life. */
export type Committed =
  | { readonly kind: "entry"; readonly index: number; readonly term: number; readonly data: Uint8Array }
  /** Replace the whole state by this snapshot (a follower that was too far behind, or a restart). */
  | { readonly kind: "snapshot"; readonly index: number; readonly chunks: AsyncIterable<Uint8Array> };

export type LogMember = {
  readonly raftId: number;
  readonly nodeId: string;
  readonly addr: string;
  readonly voter: boolean;
  readonly leader: boolean;
  readonly reachable: boolean;
  /** Highest index known to be on that member's disk; only the leader knows it. */
  readonly match: number;
};

export type LogStatus = {
  readonly raftId: number;
  readonly term: number;
  readonly leaderId: number; // 0: unknown
  readonly isLeader: boolean;
  readonly commit: number;
  readonly applied: number;
  readonly members: readonly LogMember[];
};

/** How this member is, besides what all of them agree on. */
export type LogHealth = {
  /** Why this member takes no proposals even as leader, and what it needs; "": it takes them. */
  readonly problem: string;
  /** ms from handing records to the log until they were on this member's disk, of the last 1,000; null before the first. */
  readonly sync: { readonly p50: number; readonly p99: number; readonly max: number } | null;
  /** The newest snapshot on this disk; `at` in ms since the epoch, 0 when it was there before this process started. */
  readonly snapshot: { readonly index: number; readonly bytes: number; readonly at: number } | null;
  /** Entries that are still in the log. */
  readonly firstIndex: number;
  readonly lastIndex: number;
  /** `removed`: the others say that this member is none of theirs any more. */
  readonly role: "leader" | "follower" | "candidate" | "learner" | "removed";
  /** Proposals made here whose outcome is not known yet. */
  readonly pending: number;
  /** When a member was heard last, by its raft id, in ms since the epoch; those not heard since the start are missing. */
  readonly heard: ReadonlyMap<number, number>;
  /** Of all that are or were members. */
  readonly raftIds: readonly number[];
};

export type StateMachine = {
  /** Entries of one batch, in order. Synchronous: the log counts them as applied when it returns. */
  apply(entries: readonly Extract<Committed, { kind: "entry" }>[]): void;
  restore(snapshot: Extract<Committed, { kind: "snapshot" }>): Promise<void>;
  /** The state as of the last applied entry, in chunks of at most 1 MiB. Captured synchronously when called. */
  snapshot(): Iterable<Uint8Array>;
};

export type ReplicatedLog = {
  /**
   * Resolves with the index once the entry is committed AND applied here. Rejects with TswarmError:
   * `not_leader` (nothing was proposed; leaderAddr when known), `unknown_outcome` (leadership lost after the proposal),
   * `unavailable` (stopped, disk error, too much in flight).
   */
  propose(data: Uint8Array): Promise<number>;
  /** Linearizable read barrier (ReadIndex): resolves once everything committed before the call is applied here. Any member. */
  readBarrier(): Promise<void>;
  status(): LogStatus;
  health(): LogHealth;
  /** Called after every change of leader, term or members, and once at once. Returns the unsubscribe function. */
  onStatus(listener: (status: LogStatus) => void): () => void;
  /** Leader only. Resolves with the new member's raft id once the change is committed and it is (on the way to be) a voter. */
  addMember(nodeId: string, addr: string): Promise<number>;
  removeMember(raftId: number): Promise<void>;
  transferLeadership(toRaftId?: number): Promise<void>;
  /** Hands leadership over when it has it, then closes. */
  stop(): Promise<void>;
};
