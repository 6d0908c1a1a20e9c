// The state that all roles share, and how messages leave. Behaviour is in follower.ts, candidate.ts, leader.ts and
// replicate.ts; node.ts is the door.
import type { Random } from "#base/random.ts";
import { emptyConf } from "#control-plane/raft/conf-change.ts";
import { RaftLog } from "#control-plane/raft/log.ts";
import { type InflightLimits, Progress } from "#control-plane/raft/progress.ts";
import { ReadQueue } from "#control-plane/raft/read-index.ts";
import type {
  ConfState,
  Message,
  MessageBody,
  ReadState,
  Restart,
  Role,
  SnapshotMeta,
} from "#control-plane/raft/types.ts";

export type RaftConfig = {
  /** Positive, unique in the cluster's whole life. */
  readonly id: number;
  /** A follower campaigns after [electionTicks, 2·electionTicks) without a leader. */
  readonly electionTicks: number;
  readonly heartbeatTicks: number;
  /** Bytes of entries in one append message; one larger entry still goes. */
  readonly maxMessageBytes: number;
  /** Not yet answered appends for each member. */
  readonly inflight: InflightLimits;
  /** The leader refuses proposals beyond this many bytes of uncommitted entries. */
  readonly maxUncommittedBytes: number;
  /** Bytes of committed entries in one Ready. */
  readonly maxCommittedBytes: number;
  readonly random: Random;
  readonly restart: Restart;
};

/** Answers and votes promise something that may not be on disk yet; the others promise nothing. */
const AFTER_SYNC: ReadonlySet<Message["kind"]> = new Set([
  "append-response",
  "vote",
  "vote-response",
  "pre-vote-response",
]);

export class Core {
  readonly config: RaftConfig;
  readonly id: number;
  readonly log: RaftLog;
  term: number;
  vote: number;
  leader = 0;
  role: Role = "follower";
  conf: ConfState;
  /** The newest snapshot a far-behind member can be given. */
  snapshot: SnapshotMeta | null;

  /** The connection to the leader broke and it was not heard of since: most likely its process is gone. */
  leaderLost = false;
  electionElapsed = 0;
  heartbeatElapsed = 0;
  electionTimeout = 0;

  votes = new Map<number, boolean>();
  /** The token whose sync makes this candidate's vote for itself durable. */
  selfVoteToken = 0;

  // Leader only.
  progress = new Map<number, Progress>();
  reads = new ReadQueue();
  transferee = 0;
  /** No change of members may be proposed before this index is applied. */
  pendingConfIndex = 0;
  uncommittedBytes = 0;
  heartbeatDue = false;

  nextToken = 1;
  messages: Message[] = [];
  afterSync: Message[] = [];
  readStates: ReadState[] = [];

  constructor(config: RaftConfig) {
    const { restart } = config;
    this.config = config;
    this.id = config.id;
    this.log = new RaftLog(restart);
    this.term = restart.hardState?.term ?? 0;
    this.vote = restart.hardState?.vote ?? 0;
    this.conf = restart.snapshot?.conf ?? emptyConf;
    this.snapshot = restart.snapshot;
    this.restartElectionTimer();
  }

  restartElectionTimer(): void {
    this.electionElapsed = 0;
    this.electionTimeout = this.config.electionTicks + this.config.random.int(this.config.electionTicks);
  }

  /** Forgets what belongs to the role that ends. */
  resetRole(term: number): void {
    if (term !== this.term) {
      this.term = term;
      this.vote = 0;
    }
    this.leader = 0;
    this.leaderLost = false;
    this.heartbeatElapsed = 0;
    this.votes = new Map();
    this.progress = new Map();
    this.reads = new ReadQueue();
    this.transferee = 0;
    this.pendingConfIndex = 0;
    this.uncommittedBytes = 0;
    this.heartbeatDue = false;
  }

  /** `term` is given only by pre-votes, which speak about a term that is not theirs. */
  send(to: number, body: MessageBody, term = this.term): void {
    (AFTER_SYNC.has(body.kind) ? this.afterSync : this.messages).push({ from: this.id, to, term, ...body });
  }

  newProgress(next: number, learner: boolean, recentActive: boolean): Progress {
    return new Progress(next, learner, recentActive, this.config.inflight);
  }

  /** Heard from a leader within the election timeout (§4.2.3) and has not lost it since, or is one. */
  get inLease(): boolean {
    return this.leader !== 0 && !this.leaderLost && this.electionElapsed < this.config.electionTicks;
  }

  /** May campaign: a voter here, with its snapshot on disk and all committed changes of members applied. */
  get promotable(): boolean {
    const { log } = this;
    return this.conf.voters.includes(this.id) && log.stable >= log.firstIndex - 1 && !log.hasUnappliedConf;
  }
}
