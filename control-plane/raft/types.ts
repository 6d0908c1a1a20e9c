// The words of the raft core. Section numbers (§) are those of Ongaro's dissertation, "Consensus: Bridging Theory and
// Practice". The core is pure: messages and ticks in, data (`Ready`) out.

export type EntryType = "normal" | "conf";
/** `data` of a "conf" entry is an encoded `ConfChange` (conf-change.ts). An empty "normal" entry opens a leader's term. */
export type Entry = {
  readonly term: number;
  readonly index: number;
  readonly type: EntryType;
  readonly data: Uint8Array;
};

/** What must survive a crash besides the entries. `vote` 0: none. `commit` may be lost, it only speeds up a restart. */
export type HardState = { readonly term: number; readonly vote: number; readonly commit: number };

/** Members. `removed` ids are never used again and their messages are ignored. All lists are sorted. */
export type ConfState = {
  readonly voters: readonly number[];
  readonly learners: readonly number[];
  readonly removed: readonly number[];
};
export type SnapshotMeta = { readonly index: number; readonly term: number; readonly conf: ConfState };

export type ConfChangeKind = "add-voter" | "add-learner" | "remove" | "update";
/** One change of one member. `context` is the host's (address, names); "update" changes nothing but the context. */
export type ConfChange = { readonly kind: ConfChangeKind; readonly id: number; readonly context: Uint8Array };

type Envelope = { readonly from: number; readonly to: number; readonly term: number };
type Body =
  | {
      readonly kind: "append";
      readonly prevIndex: number;
      readonly prevTerm: number;
      readonly commit: number;
      readonly entries: readonly Entry[];
    }
  /** Accepted: `index` is the last entry that matches. Rejected: `index` is the refused prevIndex, the hint is where to go back to. */
  | {
      readonly kind: "append-response";
      readonly index: number;
      readonly reject: boolean;
      readonly hintIndex: number;
      readonly hintTerm: number;
    }
  | { readonly kind: "heartbeat"; readonly commit: number; readonly round: number }
  | { readonly kind: "heartbeat-response"; readonly round: number }
  /** `transfer`: asked for by the old leader, so it overrides leader stickiness. */
  | {
      readonly kind: "vote" | "pre-vote";
      readonly lastIndex: number;
      readonly lastTerm: number;
      readonly transfer: boolean;
    }
  | { readonly kind: "vote-response" | "pre-vote-response"; readonly reject: boolean }
  /** The state itself travels outside of the core; this message is stepped once it has arrived completely. */
  | { readonly kind: "snapshot"; readonly snapshot: SnapshotMeta }
  | { readonly kind: "timeout-now" }
  | { readonly kind: "read-index"; readonly context: number }
  | { readonly kind: "read-index-response"; readonly context: number; readonly index: number }
  | { readonly kind: "transfer-leader"; readonly target: number };
export type MessageBody = Body;
export type Message = Envelope & Body;
export type MessageOf<K extends Message["kind"]> = Extract<Message, { readonly kind: K }>;

export type ProposeRefusal =
  | "not_leader"
  /** Too many uncommitted bytes: try again later. */
  | "dropped"
  /** Leadership is being handed over. */
  | "transferring"
  /** A change of members is under way, or the leader has not yet applied an entry of its own term. */
  | "conf_pending";
export type ProposeResult =
  | { readonly ok: true; readonly index: number; readonly term: number }
  | { readonly ok: false; readonly reason: ProposeRefusal };

export type ReadState = { readonly context: number; readonly index: number };

/** What the host has to do. Order on disk: snapshot, entries, hard state. */
export type Ready = {
  /** Grows by one for each Ready; to be given to `stabilized` when all of this is on disk. */
  readonly token: number;
  /** Changed since the last Ready, or null. */
  readonly hardState: HardState | null;
  readonly entries: readonly Entry[];
  /** A received snapshot replaces the log and the state. It comes before `entries` and `committed`. */
  readonly snapshot: SnapshotMeta | null;
  /** May go at once, before anything of this Ready is on disk (§10.2.1). */
  readonly messages: readonly Message[];
  /** Only when this token is stable: they promise what is in this Ready or an earlier one. */
  readonly afterSync: readonly Message[];
  /** To apply, in order, after the `committed` of earlier Readies. They are on this member's disk already. */
  readonly committed: readonly Entry[];
  readonly readStates: readonly ReadState[];
  /** False: only the commit index changed or there is nothing to write, no need to sync for it. */
  readonly mustSync: boolean;
};

export type Role = "follower" | "pre-candidate" | "candidate" | "leader";
export type ProgressState = "probe" | "replicate" | "snapshot";
export type MemberStatus = {
  readonly id: number;
  readonly learner: boolean;
  readonly match: number;
  readonly next: number;
  readonly state: ProgressState;
  readonly recentActive: boolean;
};
export type Status = {
  readonly id: number;
  readonly role: Role;
  readonly term: number;
  readonly vote: number;
  readonly leader: number; // 0: unknown
  readonly commit: number;
  readonly applied: number;
  readonly firstIndex: number;
  readonly lastIndex: number;
  readonly conf: ConfState;
  readonly transferee: number; // 0: none
  /** Filled on the leader only. */
  readonly progress: readonly MemberStatus[];
};

export type Summary = Pick<Status, "role" | "term" | "leader" | "conf">;

/** What a member finds on its disk at start. A new one has none of it. */
export type Restart = {
  readonly hardState: HardState | null;
  readonly snapshot: SnapshotMeta | null;
  /** Contiguous, beginning right after the snapshot (or at 1). */
  readonly entries: readonly Entry[];
};
