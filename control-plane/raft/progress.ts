// The leader's picture of one member (§10.2.2).
//   probe      one message, then wait for its answer or for the next heartbeat: we don't know where the logs part
//   replicate  pipelined: `next` moves ahead with each message; limited by messages and bytes in flight
//   snapshot   the member gets a snapshot; no entries until that is over
import type { ProgressState } from "#control-plane/raft/types.ts";

export type InflightLimits = { readonly messages: number; readonly bytes: number };

export class Progress {
  match: number;
  next: number;
  state: ProgressState = "probe";
  learner: boolean;
  recentActive: boolean;
  /** The highest commit index sent along; spares empty messages. */
  sentCommit = 0;
  /** The newest heartbeat round this member has answered. */
  round = 0;
  #limits: InflightLimits;
  #probeSent = false;
  #pendingSnapshot = 0;
  #inflight: { last: number; bytes: number }[] = [];
  #inflightBytes = 0;

  constructor(next: number, learner: boolean, recentActive: boolean, limits: InflightLimits) {
    this.match = 0;
    this.next = next;
    this.learner = learner;
    this.recentActive = recentActive;
    this.#limits = limits;
  }

  get full(): boolean {
    return this.#inflight.length >= this.#limits.messages || this.#inflightBytes >= this.#limits.bytes;
  }

  get pendingSnapshot(): number {
    return this.#pendingSnapshot;
  }

  get paused(): boolean {
    return this.state === "snapshot" || (this.state === "probe" && this.#probeSent);
  }

  #become(state: ProgressState): void {
    this.state = state;
    this.#probeSent = false;
    this.#pendingSnapshot = 0;
    this.#inflight = [];
    this.#inflightBytes = 0;
  }

  becomeProbe(): void {
    // After a snapshot the member is at least there, if the sending went well.
    const next = Math.max(this.match, this.state === "snapshot" ? this.#pendingSnapshot : 0) + 1;
    this.#become("probe");
    this.next = next;
    this.sentCommit = Math.min(this.sentCommit, next - 1);
  }

  becomeReplicate(): void {
    this.#become("replicate");
    this.next = this.match + 1;
  }

  becomeSnapshot(index: number): void {
    this.#become("snapshot");
    this.#pendingSnapshot = index;
    this.next = index + 1;
  }

  snapshotFailed(): void {
    this.#pendingSnapshot = 0;
  }

  /** Waits for an answer or the next heartbeat before the next probe. */
  pauseProbe(): void {
    this.#probeSent = true;
  }

  resumeProbe(): void {
    this.#probeSent = false;
  }

  sent(count: number, bytes: number): void {
    if (this.state === "probe") this.#probeSent = true;
    if (this.state !== "replicate" || count === 0) return;
    this.next += count;
    this.#inflight.push({ last: this.next - 1, bytes });
    this.#inflightBytes += bytes;
  }

  /** An accepted append up to `index`. Returns whether that is news; old and repeated answers change nothing. */
  acked(index: number): boolean {
    this.#freeTo(index);
    if (index <= this.match) return false;
    this.match = index;
    this.next = Math.max(this.next, index + 1);
    this.#probeSent = false;
    return true;
  }

  #freeTo(index: number): void {
    let freed = 0;
    while (freed < this.#inflight.length && this.#inflight[freed]!.last <= index) {
      this.#inflightBytes -= this.#inflight[freed]!.bytes;
      freed++;
    }
    if (freed > 0) this.#inflight.splice(0, freed);
  }

  /** A full window gets one free place for each answered heartbeat: a lost message must not stop replication for ever. */
  freeOne(): void {
    if (this.full && this.#inflight.length > 0) this.#freeTo(this.#inflight[0]!.last);
  }

  /** A rejection of `rejected`, with the place to go back to. Returns whether it is news. */
  rejected(rejected: number, hint: number): boolean {
    if (this.state === "replicate") {
      if (rejected <= this.match) return false;
      this.next = this.match + 1;
      return true;
    }
    // In probe only the answer to the last probe counts.
    if (this.state === "probe" && this.next - 1 !== rejected) return false;
    this.next = Math.max(Math.min(rejected, hint + 1), this.match + 1);
    this.#probeSent = false;
    return true;
  }
}
