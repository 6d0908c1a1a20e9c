// Linearizable reads without log entries (§6.4). A read is confirmed when a quorum answers a heartbeat of its round or a
// later one. Rounds only grow and belong to one leader's term: an answer that was meant for an earlier read can't confirm
// a later one.

export type PendingRead = {
  readonly context: number;
  /** Who asked; the leader's own id for its own reads. */
  readonly from: number;
  readonly index: number;
  readonly round: number;
};

export class ReadQueue {
  #reads: PendingRead[] = [];
  /** Asked before the leader committed an entry of its own term: it does not know yet what is committed. */
  #early: { context: number; from: number }[] = [];
  round = 0;

  postpone(context: number, from: number): void {
    this.#early.push({ context, from });
  }

  takePostponed(): { context: number; from: number }[] {
    const early = this.#early;
    this.#early = [];
    return early;
  }

  /** Registers a read at the commit index `index`; the caller then sends heartbeats with the new round. */
  add(context: number, from: number, index: number): void {
    this.#reads.push({ context, from, index, round: ++this.round });
  }

  get empty(): boolean {
    return this.#reads.length === 0;
  }

  /** The reads of all rounds up to `round`, which a quorum has confirmed. */
  confirmed(round: number): PendingRead[] {
    let count = 0;
    while (count < this.#reads.length && this.#reads[count]!.round <= round) count++;
    return this.#reads.splice(0, count);
  }
}
