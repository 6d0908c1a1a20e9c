// Raft's messages over the simulated links: they get lost where a link is cut, and come out of order where it is late.

import { decodeMessage, encodeMessage } from "#control-plane/raft-host/message-codec.ts";
import type { RaftTransport, TransportHost } from "#control-plane/raft-host/transport.ts";
import type { World } from "#test-cluster/control-sim/world.ts";
import type { Actor } from "#test-cluster/sim/virtual-time.ts";

/** One life of a member. */
export type RaftEnd = { readonly host: string; readonly actor: Actor; readonly raft: TransportHost };

const NO_CONNECTION_MS = 50;
const LOST_ANSWER_MS = 5_000;

/** @param ends the members that live now, by raft id */
export const raftTransport = (world: World, ends: ReadonlyMap<number, RaftEnd>, from: RaftEnd): RaftTransport => {
  const { time, links } = world;
  const way = (a: string, b: string): number | null => (links.passes(a, b) ? links.delay(a, b) : null);
  return {
    send(to, messages) {
      const receiver = ends.get(to);
      const host = receiver?.host ?? "";
      const ms = way(from.host, host);
      if (ms === null || from.actor.dead) return;
      const bytes = messages.map(encodeMessage);
      time.after(ms, time.world, () => {
        const end = ends.get(to);
        if (end === undefined || end.actor.dead) {
          time.after(ms, from.actor, () => from.raft.unreachable(to));
          return;
        }
        if (!links.passes(from.host, end.host)) return;
        time.after(0, end.actor, () => {
          if (end.raft.isRemoved(from.raft.raftId)) time.after(1, from.actor, () => from.raft.removedByOthers());
          else end.raft.receive(bytes.map(decodeMessage));
        });
      });
    },
    async sendSnapshot(to, term, meta, pieces) {
      const sent: Uint8Array[] = [];
      for await (const piece of pieces(0)) sent.push(piece);
      const end = ends.get(to);
      const ms = end === undefined || end.actor.dead ? null : way(from.host, end.host);
      if (end === undefined || ms === null) {
        await time.wait(NO_CONNECTION_MS, from.actor);
        throw new Error("no connection");
      }
      const arriving = async function* (offset: number): AsyncGenerator<Uint8Array> {
        let here = offset;
        for (const piece of sent) {
          const rest = piece.subarray(Math.min(here, piece.length));
          here -= piece.length - rest.length;
          if (rest.length === 0) continue;
          const next = way(from.host, end.host);
          await time.wait(next ?? NO_CONNECTION_MS, end.actor);
          if (next === null || from.actor.dead) throw new Error("the connection broke");
          yield rest;
        }
      };
      world.note(`${from.host} sends a snapshot to ${end.host}`);
      const answer = Promise.withResolvers<void>();
      const later = (settle: () => void) => time.after(links.delay(end.host, from.host), from.actor, settle);
      time.after(ms, end.actor, () => {
        const id = { from: from.raft.raftId, index: meta.index, term: meta.term };
        const receipt = end.raft.beginSnapshot(id, true);
        receipt.receive(term, arriving(receipt.offset)).then(
          () => later(answer.resolve),
          (error) => later(() => answer.reject(error)),
        );
      });
      time.after(LOST_ANSWER_MS, from.actor, () => answer.reject(new Error("the connection broke")));
      await answer.promise;
    },
    setPeers() {},
    arrived() {},
    close() {},
  };
};
