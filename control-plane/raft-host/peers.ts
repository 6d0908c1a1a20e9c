// Names and addresses of the members, which the core knows only as ids.

import { reading } from "#base/errors.ts";
import { ByteReader, ByteWriter } from "#control-plane/raft-host/byte-codec.ts";
import { RaftPeer } from "#proto/gen/raft.ts";

export type Peer = { readonly raftId: number; readonly nodeId: string; readonly addr: string };

/** The context of a change of members. */
export const encodePeer = (peer: Peer): Uint8Array => RaftPeer.encode(RaftPeer.fromPartial(peer)).finish();
export const decodePeer = (bytes: Uint8Array): Peer => reading("internal", "a member", () => RaftPeer.decode(bytes));

export const encodePeers = (peers: Iterable<Peer>): Uint8Array => {
  const list = [...peers];
  const w = new ByteWriter();
  w.varint(list.length);
  for (const peer of list) w.bytes(encodePeer(peer));
  return w.done();
};

export const decodePeers = (bytes: Uint8Array): Peer[] => {
  const r = new ByteReader(bytes);
  const peers: Peer[] = [];
  for (let left = r.varint(); left > 0; left--) peers.push(decodePeer(r.bytes()));
  return peers;
};
