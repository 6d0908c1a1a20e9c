// The network between members: it drops, delays, repeats and reorders what is sent, and links can be cut in one direction.
import type { Random } from "#base/random.ts";
import type { Message, SnapshotMeta } from "#control-plane/raft/types.ts";
import { decodeMessage, encodeMessage } from "#control-plane/raft-host/message-codec.ts";
import type { RaftTransport, SnapshotPieces } from "#control-plane/raft-host/transport.ts";
import { between, chance } from "#test-cluster/sim/draw.ts";
import type { FaultMix } from "#test-cluster/sim/fault-mix.ts";
import type { Life, SimMember } from "#test-cluster/sim/member.ts";
import type { Trace } from "#test-cluster/sim/trace.ts";
import type { VirtualTime } from "#test-cluster/sim/virtual-time.ts";

export type NetworkOptions = {
  readonly time: VirtualTime;
  readonly trace: Trace;
  readonly random: Random;
  readonly mix: FaultMix;
  readonly members: ReadonlyMap<number, SimMember>;
  /** Sees each message that leaves a living member. */
  readonly onSend: (life: Life, m: Message) => void;
};

export class Network {
  healed = false;
  #o: NetworkOptions;
  /** By link, with how many faults cut it now. */
  #cut = new Map<number, number>();

  constructor(options: NetworkOptions) {
    this.#o = options;
  }

  cut(from: number, to: number): () => void {
    const key = link(from, to);
    this.#cut.set(key, (this.#cut.get(key) ?? 0) + 1);
    return () => this.#cut.set(key, (this.#cut.get(key) ?? 1) - 1);
  }

  heal(): void {
    this.healed = true;
  }

  /** The connections with that member end from its side, as when its process dies. Some of the others see it. */
  hangUp(id: number): void {
    const { time, random, members, mix } = this.#o;
    for (const { life, raftId } of members.values()) {
      if (raftId === id || life === null || life.dead || !this.#passes(id, raftId) || chance(random, 0.2)) continue;
      time.after(mix.delayMs * between(random, 0.3, 1.5), time.world, () => time.as(life, () => life.host?.lost(id)));
    }
  }

  #passes(from: number, to: number): boolean {
    return this.healed || this.#cut.size === 0 || (this.#cut.get(link(from, to)) ?? 0) === 0;
  }

  /** ms of the way, null when it gets lost. */
  #way(from: number, to: number): number | null {
    const { random, mix } = this.#o;
    if (this.healed) return between(random, 0.2, 1);
    if (!this.#passes(from, to) || chance(random, mix.dropRate)) return null;
    const late = chance(random, mix.lateRate) ? random.float() * mix.lateMs : 0;
    return mix.delayMs * between(random, 0.3, 1.5) + late;
  }

  /** A process is gone: its connections break, unless the way is so bad that nobody hears of that either. */
  broken(id: number): void {
    const { time, members } = this.#o;
    for (const { raftId, life } of members.values()) {
      const ms = raftId === id || life === null || life.dead ? null : this.#way(id, raftId);
      if (ms !== null) time.after(ms, life!, () => life!.host?.lost(id));
    }
  }

  transport(life: Life): RaftTransport {
    return {
      send: (to, messages) => {
        if (life.dead) return;
        life.member.step(life);
        for (const m of messages) this.#o.onSend(life, m);
        const bytes = messages.map(encodeMessage);
        const batches = this.#o.mix.split ? bytes.map((m) => [m]) : [bytes];
        for (const batch of batches) {
          this.#send(life, to, batch);
          if (!this.healed && chance(this.#o.random, this.#o.mix.duplicateRate)) this.#send(life, to, batch);
        }
      },
      sendSnapshot: (to, term, meta, pieces) => this.#sendSnapshot(life, to, term, meta, pieces),
      setPeers: () => {},
      arrived: () => {},
      close: () => {},
    };
  }

  #send(sender: Life, to: number, bytes: readonly Uint8Array[]): void {
    const { time, trace } = this.#o;
    const from = sender.member.raftId;
    const ms = this.#way(from, to);
    if (ms === null) return;
    time.after(ms, time.world, () => {
      const receiver = this.#o.members.get(to)?.life;
      if (!this.#passes(from, to)) return;
      if (!receiver?.host || receiver.dead) {
        // As a broken connection: the sender learns it, if it is the same life.
        time.after(ms, sender, () => sender.host!.unreachable(to));
        return;
      }
      const { host } = receiver;
      // What comes while the process is paused waits in its socket.
      time.as(receiver, () => {
        if (host.isRemoved(from)) {
          time.after(1, sender, () => sender.host!.removedByOthers());
          return;
        }
        const received = bytes.map(decodeMessage);
        for (const m of received) trace.message(time.now, m);
        host.receive(received);
      });
    });
  }

  async #sendSnapshot(
    sender: Life,
    to: number,
    term: number,
    meta: SnapshotMeta,
    pieces: SnapshotPieces,
  ): Promise<void> {
    const { time, trace } = this.#o;
    const from = sender.member.raftId;
    const sent: Uint8Array[] = [];
    for await (const piece of pieces(0)) sent.push(piece);
    const ms = this.#way(from, to);
    const receiver = this.#o.members.get(to)?.life;
    if (ms === null || !receiver?.host || receiver.dead) {
      await time.wait(50, sender);
      throw new Error("no connection");
    }
    const { host } = receiver;
    const arriving = async function* (this: Network, offset: number): AsyncGenerator<Uint8Array> {
      let skip = offset;
      for (const piece of sent) {
        const rest = piece.subarray(Math.min(skip, piece.length));
        skip -= piece.length - rest.length;
        if (rest.length === 0) continue;
        const way = this.#way(from, to);
        await time.wait(way ?? 50, receiver);
        if (way === null || sender.dead) throw new Error("the connection broke");
        yield rest;
      }
    }.bind(this);
    trace.note(time.now, `${from}>${to} snapshot file i${meta.index} t${meta.term}`);
    const answer = Promise.withResolvers<void>();
    const answerLater = (settle: () => void) => time.after(this.#way(to, from) ?? 100, sender, settle);
    time.after(ms, receiver, () => {
      const receipt = host.beginSnapshot({ from, index: meta.index, term: meta.term }, true);
      receipt.receive(term, arriving(receipt.offset)).then(
        () => answerLater(answer.resolve),
        (error) => answerLater(() => answer.reject(error)),
      );
    });
    // A receiver that crashes never answers.
    time.after(5000, sender, () => answer.reject(new Error("the connection broke")));
    await answer.promise;
  }
}

const link = (from: number, to: number): number => from * 0x10000 + to;
