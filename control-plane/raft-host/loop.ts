// The engine around one core: turns, disk, sending, applying, snapshots.
//
// Everything that touches the core happens synchronously in one turn of the event loop, so its term and role can't change
// between looking and acting. Proposals and messages of one turn travel and are written together. Messages go out before
// the sync starts, so heartbeats never wait for a disk.
import path from "node:path";
import { assert } from "#base/assert.ts";
import type { Clock } from "#base/clock.ts";
import { TswarmError } from "#base/errors.ts";
import type { Logger } from "#base/log.ts";
import type { Random } from "#base/random.ts";
import type { Committed, LogHealth, StateMachine } from "#control-plane/log/log.ts";
import { decodeConfChange } from "#control-plane/raft/conf-change.ts";
import { createRaftNode, type RaftNode } from "#control-plane/raft/node.ts";
import type { ConfChange, Entry, Message, Ready, SnapshotMeta } from "#control-plane/raft/types.ts";
import { type Disk, isDiskFull } from "#control-plane/raft-host/disk.ts";
import { entryMemory } from "#control-plane/raft-host/entry-memory.ts";
import type { MemberFiles } from "#control-plane/raft-host/member-files.ts";
import { dropUnneededKeys } from "#control-plane/raft-host/needed-keys.ts";
import { decodePeer, decodePeers, encodePeers, type Peer } from "#control-plane/raft-host/peers.ts";
import type { SnapshotId } from "#control-plane/raft-host/snapshot-incoming.ts";
import { type Received, Snapshots } from "#control-plane/raft-host/snapshots.ts";
import { SyncTimes } from "#control-plane/raft-host/sync-times.ts";
import type { RaftTransport, SnapshotPieces, SnapshotReceipt } from "#control-plane/raft-host/transport.ts";
import { ProposalWaiters, ReadBarriers, type Waiter } from "#control-plane/raft-host/waiting.ts";
import { entryRecords } from "#control-plane/raft-host/wal.ts";
import type { WalRecord } from "#control-plane/raft-host/wal-record.ts";

export type LoopOptions = {
  readonly files: MemberFiles;
  readonly disk: Disk;
  readonly stateMachine: StateMachine;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly tickMs: number;
  readonly electionTicks: number;
  readonly heartbeatTicks: number;
  /** Entries between two snapshots. */
  readonly snapshotEvery: number;
  /** Entries kept in memory behind the newest snapshot, for members that are a little slow. */
  readonly keepEntries: number;
  readonly segmentBytes: number;
  readonly onFatal: (error: unknown) => void;
  /** After every turn. */
  readonly afterTurn: () => void;
  readonly onTick: () => void;
};

type QueuedProposal = { readonly data: Uint8Array } & Waiter<number>;

const MIB = 1 << 20;
/** How often a full disk is tried again. */
const ROOM_TICKS = 20;
/** A snapshot is due also after this many bytes of entries: the log is in memory, and is replayed at a start. */
const SNAPSHOT_BYTES = 64 * MIB;
/** Of the entries kept behind a snapshot. */
const KEEP_BYTES = 16 * MIB;
/** A snapshot that had no room on the disk is tried again after this time. */
const SNAPSHOT_RETRY_MS = 10_000;
/** A snapshot that did not get to its member is sent again after this time, then after ever longer ones. */
const RESEND_MS = { first: 500, last: 4000 };
/** Entries of one turn are applied up to about this many, so that heartbeats go out in time. */
const TURN_BYTES = MIB / 4;
const TURN_ENTRIES = 2000;
/** A huge entry would hold up heartbeats and everybody else's entries. */
const MAX_PROPOSAL_BYTES = 2 * MIB;

export class RaftLoop {
  readonly node: RaftNode;
  readonly peers = new Map<number, Peer>();
  /** Grows when they change. */
  peersVersion = 0;
  readonly unreachable = new Set<number>();
  #syncTimes = new SyncTimes();
  /** When the newest snapshot got here, ms since the epoch; 0: before this process started. */
  #snapshotAt = 0;
  applied: number;
  stopped: TswarmError | null = null;
  #o: LoopOptions;
  #transport: RaftTransport | null = null;
  #proposals: QueuedProposal[] = [];
  #waiters = new ProposalWaiters();
  #barriers: ReadBarriers;
  #scheduled = false;
  #ticks = 0;
  #cancelTick: () => void = () => {};
  #unsynced: Ready[] = [];
  #toApply: Entry[] = [];
  /** The disk says that everything up to here is committed. */
  #secured: number;
  #securing = false;
  /** Messages by member that can wait until the next tick, or for a newer one. */
  #held = new Map<number, Message>();
  #restoring = false;
  #received: Received | null = null;
  #snapshots: Snapshots;
  #snapshotting = false;
  #bytesSinceSnapshot = 0;
  #resendMs = new Map<number, number>();
  #noSnapshotBefore = 0;

  constructor(options: LoopOptions) {
    this.#o = options;
    const { files, random } = options;
    this.node = createRaftNode({
      id: files.raftId,
      electionTicks: options.electionTicks,
      heartbeatTicks: options.heartbeatTicks,
      maxMessageBytes: MIB / 2,
      inflight: { messages: 128, bytes: 8 * MIB },
      maxUncommittedBytes: 64 * MIB,
      maxCommittedBytes: TURN_BYTES,
      random,
      restart: files.restart,
    });
    for (const peer of files.peers) this.peers.set(peer.raftId, peer);
    this.#barriers = new ReadBarriers(random.int(2 ** 48));
    this.#snapshots = new Snapshots(options.disk, files);
    this.applied = this.#snapshots.index;
    this.#secured = files.restart.hardState?.commit ?? 0;
  }

  /** Restores the newest snapshot, then begins to tick. */
  async start(transport: RaftTransport): Promise<void> {
    this.#transport = transport;
    this.#tellPeers();
    await this.#restore();
    this.#armTick();
    this.#turn();
  }

  #armTick(): void {
    this.#cancelTick = this.#o.clock.after(this.#o.tickMs, () => {
      this.#armTick();
      this.#guarded(() => this.#tick());
    });
  }

  #tick(): void {
    // One tick, however late: a process that was paused must not count the pause as silence of its leader.
    this.node.tick();
    const { electionTicks } = this.#o;
    for (const context of this.#barriers.tick(Math.ceil(electionTicks / 2), electionTicks * 10)) {
      this.node.readIndex(context);
    }
    if (this.#ticks++ % ROOM_TICKS === 0 && this.#o.files.wal.full) this.#o.files.wal.retryRoom();
    this.#o.onTick();
    this.#turn();
    for (const [to, message] of this.#held) this.#transport!.send(to, [message]);
    this.#held.clear();
  }

  /** Why this member takes no proposals though it may lead; "" when it would. */
  get problem(): string {
    const { wal, raftId, snapDir } = this.#o.files;
    if (!wal.full) return "";
    const needed = Math.ceil(this.#o.segmentBytes / MIB);
    const who = this.peers.get(raftId)?.nodeId ?? raftId;
    return `the disk of manager ${who} is full: ${needed} MiB are needed for the log in ${path.dirname(snapDir)}`;
  }

  /** A broken invariant of the core stops the log, wherever it shows. */
  #guarded(work: () => void): void {
    if (this.stopped !== null) return;
    try {
      work();
    } catch (error) {
      this.fatal(error);
    }
  }

  schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => this.#turn());
  }

  propose(data: Uint8Array): Promise<number> {
    if (data.length === 0 || data.length > MAX_PROPOSAL_BYTES) {
      const range = `between 1 and ${MAX_PROPOSAL_BYTES} bytes`;
      return Promise.reject(new TswarmError("invalid", `a change has ${data.length} bytes: it must have ${range}`));
    }
    return new Promise((resolve, reject) => {
      if (this.stopped !== null) return reject(this.stopped);
      this.#proposals.push({ data: entryMemory(data), resolve, reject });
      this.schedule();
    });
  }

  /** At once, because the caller looks at the members right before. Resolves as `propose`. */
  proposeConfChange(change: ConfChange): Promise<number> | "conf_pending" {
    if (this.stopped !== null) return Promise.reject(this.stopped);
    const { problem } = this;
    if (problem !== "") return Promise.reject(new TswarmError("unavailable", problem));
    const result = this.node.proposeConfChange(change);
    if (!result.ok && result.reason === "conf_pending") return result.reason;
    this.schedule();
    return new Promise((resolve, reject) => {
      if (result.ok) this.#waiters.add(result.index, result.term, { resolve, reject });
      else reject(this.refusal(result.reason));
    });
  }

  refusal(reason: "not_leader" | "dropped" | "transferring" | "conf_pending"): TswarmError {
    if (reason === "not_leader") return this.notLeader();
    const text = {
      dropped: "too many uncommitted changes are in flight",
      transferring: "leadership is being handed over",
      conf_pending: "another change of managers is under way",
    }[reason];
    return new TswarmError("unavailable", text);
  }

  notLeader(): TswarmError {
    const { leader } = this.node.status();
    const leaderAddr = this.peers.get(leader)?.addr;
    const where = leader === 0 ? "no leader is known" : `the leader is ${leaderAddr ?? leader}`;
    return new TswarmError("not_leader", `this manager is not the leader; ${where}`, leaderAddr ? { leaderAddr } : {});
  }

  health(): Omit<LogHealth, "role" | "heard" | "raftIds"> {
    const { firstIndex, lastIndex } = this.node.status();
    const current = this.#snapshots.current;
    const snapshot =
      current === null ? null : { index: current.meta.index, bytes: current.bytes, at: this.#snapshotAt };
    const pending = this.#proposals.length + this.#waiters.size;
    return { problem: this.problem, sync: this.#syncTimes.summary, snapshot, firstIndex, lastIndex, pending };
  }

  readBarrier(): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.stopped !== null) return reject(this.stopped);
      this.#barriers.add({ resolve, reject });
      this.schedule();
    });
  }

  receive(messages: readonly Message[]): void {
    this.#guarded(() => {
      for (const m of messages) {
        this.unreachable.delete(m.from);
        this.node.step(m);
      }
      this.schedule();
    });
  }

  reportUnreachable(id: number): void {
    if (this.stopped !== null) return;
    this.unreachable.add(id);
    this.node.reportUnreachable(id);
  }

  peerArrived(id: number): void {
    if (this.stopped === null) this.#transport?.arrived(id);
  }

  peerLost(id: number): void {
    if (this.stopped !== null) return;
    this.node.peerLost(id);
    this.schedule();
  }

  #turn(): void {
    this.#scheduled = false;
    this.#guarded(() => {
      this.#takeProposals();
      const context = this.#barriers.ask();
      if (context !== undefined) this.node.readIndex(context);
      let applied = 0;
      for (let ready = this.node.ready(); ready !== null; ready = this.node.ready()) {
        this.#process(ready);
        applied += ready.committed.length;
        if (applied < TURN_ENTRIES) continue;
        this.schedule();
        break;
      }
      this.#rejectLostProposals();
      this.#o.afterTurn();
    });
  }

  #takeProposals(): void {
    const proposals = this.#proposals;
    if (proposals.length === 0) return;
    this.#proposals = [];
    const { problem } = this;
    if (problem !== "" && this.node.summary().role === "leader") {
      for (const { reject } of proposals) reject(new TswarmError("unavailable", problem));
      return;
    }
    for (const { data, resolve, reject } of proposals) {
      const result = this.node.propose(data);
      if (result.ok) this.#waiters.add(result.index, result.term, { resolve, reject });
      else reject(this.refusal(result.reason));
    }
  }

  #rejectLostProposals(): void {
    const { role, term } = this.node.summary();
    this.#waiters.keepOnly(role === "leader" ? term : undefined, "leadership was lost after the proposal");
  }

  #process(ready: Ready): void {
    this.#send(ready.messages);
    const records: WalRecord[] = [];
    if (ready.snapshot !== null) records.push(...this.#adoptReceived(ready.snapshot));
    records.push(...entryRecords(ready.entries));
    if (ready.hardState !== null) records.push({ kind: "hard-state", hardState: ready.hardState });
    const { wal } = this.#o.files;
    if (records.length > 0) wal.append(records);
    this.#unsynced.push(ready);
    if (ready.mustSync) {
      // The transport writes when this turn is over: a sync that starts before would keep the other members waiting.
      if (ready.messages.length > 0) setImmediate(() => this.#sync(ready.token));
      else this.#sync(ready.token);
    } else {
      this.#settle(0);
    }
    for (const { context, index } of ready.readStates) this.#barriers.answered(context, index);
    this.#toApply.push(...ready.committed);
    this.#apply();
    if (ready.readStates.length > 0) this.#barriers.applied(this.applied);
  }

  #sync(token: number): void {
    const began = this.#o.clock.monotonic();
    this.#o.files.wal.sync().then(
      () => {
        this.#syncTimes.add(this.#o.clock.monotonic() - began);
        this.#synced(token);
      },
      (error) => this.fatal(error),
    );
  }

  #synced(token: number): void {
    this.#guarded(() => this.#settle(token));
    this.#turn();
  }

  /** Readies up to `token` are on disk, and those behind them that had nothing to sync. */
  #settle(token: number): void {
    for (let first = this.#unsynced[0]; first !== undefined; first = this.#unsynced[0]) {
      if (first.token > token && first.mustSync) return;
      this.#unsynced.shift();
      this.node.stabilized(first.token);
      this.#send(first.afterSync);
    }
  }

  #send(messages: readonly Message[]): void {
    if (messages.length === 0) return;
    const byMember = new Map<number, Message[]>();
    for (const m of messages) {
      if (m.kind === "append") this.#held.delete(m.to);
      // It only tells how far is committed. The next append tells that too, and saves a message and its answer.
      if (m.kind === "append" && m.entries.length === 0) this.#held.set(m.to, m);
      else if (m.kind === "snapshot") this.#sendSnapshot(m.to, m.term);
      else if (byMember.has(m.to)) byMember.get(m.to)!.push(m);
      else byMember.set(m.to, [m]);
    }
    for (const [to, batch] of byMember) this.#transport!.send(to, batch);
  }

  #sendSnapshot(to: number, term: number): void {
    const { logger } = this.#o;
    const meta = this.#snapshots.current?.meta;
    const ended = (ok: boolean) =>
      this.#guarded(() => {
        this.node.reportSnapshot(to, ok);
        this.schedule();
      });
    if (meta === undefined) {
      ended(false);
      return;
    }
    logger.info("sends a snapshot", { to, index: meta.index });
    this.#transport!.sendSnapshot(to, term, meta, this.#piecesToSend(this.#snapshots.pieces())).then(
      () => {
        this.#resendMs.delete(to);
        ended(true);
      },
      (error) => {
        logger.warn("could not send a snapshot", { to, index: meta.index, error });
        const wait = this.#resendMs.get(to) ?? RESEND_MS.first;
        this.#resendMs.set(to, Math.min(wait * 2, RESEND_MS.last));
        this.#o.clock.after(wait, () => ended(false));
      },
    );
  }

  /** Damage to the file shows here. The state is whole, so a new one is written: until then, nobody could catch up. */
  #piecesToSend(pieces: SnapshotPieces): SnapshotPieces {
    const watched = async function* (this: RaftLoop, offset: number): AsyncGenerator<Uint8Array> {
      try {
        yield* pieces(offset);
      } catch (error) {
        this.#o.logger.error("the newest snapshot can't be read: writes another one", { error });
        void this.#snapshot();
        throw error;
      }
    };
    return watched.bind(this);
  }

  // --- applying ---

  #apply(): void {
    if (this.#restoring || this.#securing) return;
    const change = this.#toApply.findIndex(({ type, index }) => type === "conf" && index > this.#secured);
    const entries = this.#toApply.splice(0, change < 0 ? this.#toApply.length : change);
    if (change >= 0) this.#secure(this.#toApply.at(-1)!.index);
    if (entries.length === 0) return;
    let batch: Extract<Committed, { kind: "entry" }>[] = [];
    const flush = () => {
      if (batch.length > 0) this.#o.stateMachine.apply(batch);
      batch = [];
    };
    for (const entry of entries) {
      if (entry.type === "conf") {
        flush();
        this.#applyConf(decodeConfChange(entry.data));
      } else if (entry.data.length > 0) {
        batch.push({ kind: "entry", index: entry.index, term: entry.term, data: entry.data });
      }
    }
    flush();
    this.#appliedTo(entries.at(-1)!.index);
    for (const { index, term, data } of entries) {
      this.#bytesSinceSnapshot += data.length;
      this.#waiters.applied(index, term);
    }
    const due = this.applied - this.#snapshots.index >= this.#o.snapshotEvery;
    if (due || this.#bytesSinceSnapshot >= SNAPSHOT_BYTES) void this.#snapshot();
  }

  /**
   * Puts on the disk how far is committed, before a change of members counts. Who is removed is gone for good: a member that
   * forgot the change would ask for its vote for ever.
   */
  #secure(index: number): void {
    this.#securing = true;
    this.#o.files.wal.sync().then(
      () => {
        this.#securing = false;
        this.#secured = index;
        this.#guarded(() => this.#apply());
        this.#turn();
      },
      (error) => this.fatal(error),
    );
  }

  #appliedTo(index: number): void {
    this.applied = index;
    this.node.applied(index);
    this.#barriers.applied(index);
  }

  #applyConf(change: ConfChange): void {
    this.node.applyConfChange(change);
    if (change.kind === "remove") this.peers.delete(change.id);
    else if (change.context.length > 0) this.peers.set(change.id, decodePeer(change.context));
    this.#o.files.wal.append([{ kind: "peers", data: encodePeers(this.peers.values()) }]);
    this.#tellPeers();
    this.#o.logger.info("managers changed", { change: change.kind, id: change.id });
  }

  #tellPeers(): void {
    this.peersVersion++;
    this.#transport!.setPeers([...this.peers.values()].filter((p) => p.raftId !== this.#o.files.raftId));
  }

  // --- snapshots ---

  /** Captures the state now, writes it piece by piece. */
  async #snapshot(): Promise<void> {
    if (this.#snapshotting || this.#restoring || this.#o.clock.monotonic() < this.#noSnapshotBefore) return;
    this.#snapshotting = true;
    const bytesBefore = this.#bytesSinceSnapshot;
    const { files, stateMachine, keepEntries, logger } = this.#o;
    const snapshots = this.#snapshots;
    try {
      const index = this.applied;
      const meta: SnapshotMeta = { index, term: this.node.termAt(index), conf: this.node.status().conf };
      const file = await snapshots.write(
        meta,
        encodePeers(this.peers.values()),
        this.#whileRunning(stateMachine.snapshot()),
      );
      // A received, newer one may have come in between; then this one is only a file more.
      if (this.stopped !== null || index <= snapshots.index) return;
      files.wal.append([{ kind: "snapshot", index, term: meta.term, reset: false }]);
      await files.wal.sync();
      if (index <= snapshots.index) return;
      snapshots.use(file, meta);
      this.#bytesSinceSnapshot -= bytesBefore;
      this.#snapshotAt = this.#o.clock.now();
      this.node.snapshotted(meta);
      this.node.compact(index - keepEntries, KEEP_BYTES);
      files.wal.release(Math.min(index - keepEntries, snapshots.fallbackIndex));
      await dropUnneededKeys(this.#o.disk, files, logger);
      logger.info("wrote a snapshot", { index });
    } catch (error) {
      if (!isDiskFull(error)) this.fatal(error);
      else {
        // The log is longer for a while.
        logger.warn("no room for a snapshot, will try again", { error });
        this.#noSnapshotBefore = this.#o.clock.monotonic() + SNAPSHOT_RETRY_MS;
      }
    } finally {
      this.#snapshotting = false;
    }
  }

  /** A log that has stopped leaves its folder alone: somebody else may have opened it. */
  *#whileRunning(chunks: Iterable<Uint8Array>): Generator<Uint8Array> {
    for (const chunk of chunks) {
      if (this.stopped !== null) throw this.stopped;
      yield chunk;
    }
    if (this.stopped !== null) throw this.stopped;
  }

  beginSnapshot(id: SnapshotId, resumes: boolean): SnapshotReceipt {
    const { stopped } = this;
    if (stopped !== null) return { offset: 0, receive: () => Promise.reject(stopped) };
    const { offset, receive } = this.#snapshots.begin(id, resumes);
    if (offset > 0) this.#o.logger.info("a snapshot goes on where its transfer broke off", { ...id, offset });
    return { offset, receive: async (term, pieces) => this.#take(id.from, term, await receive(pieces)) };
  }

  #take(from: number, term: number, received: Received): void {
    if (this.stopped !== null) throw this.stopped;
    this.#o.logger.info("received a snapshot", { from, index: received.meta.index });
    this.#received = received;
    this.#guarded(() =>
      this.node.step({ kind: "snapshot", from, to: this.#o.files.raftId, term, snapshot: received.meta }),
    );
    this.#turn();
    // The core did not want it any more.
    if (this.#received !== null) this.#snapshots.discard(received);
    this.#received = null;
  }

  #adoptReceived(meta: SnapshotMeta): WalRecord[] {
    const received = this.#received;
    assert(received?.meta.index === meta.index, "a received snapshot comes with its file");
    this.#received = null;
    this.#snapshots.adopt(received);
    this.#bytesSinceSnapshot = 0;
    this.#snapshotAt = this.#o.clock.now();
    this.peers.clear();
    for (const peer of decodePeers(received.peers)) this.peers.set(peer.raftId, peer);
    this.#tellPeers();
    this.#toApply = [];
    this.#restore().then(
      () => this.#turn(),
      (error) => this.fatal(error),
    );
    return [
      { kind: "snapshot", index: meta.index, term: meta.term, reset: true },
      { kind: "peers", data: received.peers },
    ];
  }

  /**
   * Puts the newest snapshot into the state machine. Messages come in meanwhile, also at the start: nothing is applied until
   * it is done, and a snapshot that arrives is restored after it, never at the same time.
   */
  async #restore(): Promise<void> {
    if (this.#restoring || this.#snapshots.current === null) return;
    this.#restoring = true;
    for (let done = 0; done < this.#snapshots.index; ) {
      const { index } = this.#snapshots;
      await this.#o.stateMachine.restore({ kind: "snapshot", index, chunks: this.#snapshots.chunks() });
      done = index;
    }
    this.#restoring = false;
    this.#guarded(() => {
      this.#appliedTo(this.#snapshots.index);
      this.#apply();
    });
  }

  // --- the end ---

  fatal(error: unknown): void {
    if (this.stopped !== null) return;
    this.#o.logger.error("the replicated log stops", { error });
    this.halt(new TswarmError("unavailable", "the replicated log stopped after an error", { cause: error }));
    this.#o.files.wal.abandon();
    this.#o.files.unlock();
    this.#o.onFatal(error);
  }

  /** No more turns; everybody who waits is told. */
  halt(why: TswarmError): void {
    if (this.stopped !== null) return;
    this.stopped = why;
    this.#cancelTick();
    this.#transport?.close();
    for (const { reject } of this.#proposals.splice(0)) reject(why);
    this.#waiters.keepOnly(undefined, "this manager stopped after the proposal");
    this.#barriers.rejectAll(why);
  }
}
