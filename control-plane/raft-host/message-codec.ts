// The core's messages and entries as bytes, for the wire and for the log on disk. Kinds are numbered by their place in
// KINDS: only ever append to it.
import { TswarmError } from "#base/errors.ts";
import type { ConfState, Entry, Message, MessageBody } from "#control-plane/raft/types.ts";
import { ByteReader, ByteWriter } from "#control-plane/raft-host/byte-codec.ts";
import { entryMemory } from "#control-plane/raft-host/entry-memory.ts";

const KINDS: readonly Message["kind"][] = [
  "append",
  "append-response",
  "heartbeat",
  "heartbeat-response",
  "vote",
  "vote-response",
  "pre-vote",
  "pre-vote-response",
  "snapshot",
  "timeout-now",
  "read-index",
  "read-index-response",
  "transfer-leader",
];
const KIND_CODE = new Map(KINDS.map((kind, code) => [kind, code]));

export const writeEntry = (w: ByteWriter, e: Entry): void => {
  w.varint(e.term);
  w.varint(e.index);
  w.byte(e.type === "conf" ? 1 : 0);
  w.bytes(e.data);
};

export const readEntry = (r: ByteReader): Entry => {
  const term = r.varint();
  const index = r.varint();
  const type = r.byte() === 1 ? "conf" : "normal";
  return { term, index, type, data: r.bytes() };
};

export const writeConf = (w: ByteWriter, conf: ConfState): void => {
  w.numbers(conf.voters);
  w.numbers(conf.learners);
  w.numbers(conf.removed);
};

export const readConf = (r: ByteReader): ConfState => ({
  voters: r.numbers(),
  learners: r.numbers(),
  removed: r.numbers(),
});

/** A fresh buffer with one message. Entries are copied. */
export const encodeMessage = (m: Message): Buffer => {
  const size = m.kind === "append" ? m.entries.reduce((sum, e) => sum + e.data.length + 24, 64) : 64;
  const w = new ByteWriter(size);
  w.byte(KIND_CODE.get(m.kind)!);
  w.varint(m.from);
  w.varint(m.to);
  w.varint(m.term);
  writeBody(w, m);
  return w.done();
};

const writeBody = (w: ByteWriter, m: Message): void => {
  switch (m.kind) {
    case "append":
      w.varint(m.prevIndex);
      w.varint(m.prevTerm);
      w.varint(m.commit);
      w.varint(m.entries.length);
      for (const entry of m.entries) writeEntry(w, entry);
      return;
    case "append-response":
      w.varint(m.index);
      w.byte(m.reject ? 1 : 0);
      w.varint(m.hintIndex);
      w.varint(m.hintTerm);
      return;
    case "heartbeat":
      w.varint(m.commit);
      w.varint(m.round);
      return;
    case "heartbeat-response":
      w.varint(m.round);
      return;
    case "vote":
    case "pre-vote":
      w.varint(m.lastIndex);
      w.varint(m.lastTerm);
      w.byte(m.transfer ? 1 : 0);
      return;
    case "vote-response":
    case "pre-vote-response":
      w.byte(m.reject ? 1 : 0);
      return;
    case "snapshot":
      w.varint(m.snapshot.index);
      w.varint(m.snapshot.term);
      writeConf(w, m.snapshot.conf);
      return;
    case "timeout-now":
      return;
    case "read-index":
      w.varint(m.context);
      return;
    case "read-index-response":
      w.varint(m.context);
      w.varint(m.index);
      return;
    case "transfer-leader":
      w.varint(m.target);
  }
};

/**
 * Whether this version knows such messages. Those of a newer one are dropped, like messages that get lost: their sender has
 * to do without an answer anyway. So a message that says more is a kind of its own.
 */
export const isKnownKind = (bytes: Uint8Array): boolean => (bytes[0] ?? 0) < KINDS.length;

/** Throws `internal` for anything that is not exactly one message. */
export const decodeMessage = (bytes: Uint8Array): Message => {
  const kind = KINDS[bytes[0] ?? KINDS.length];
  const r = new ByteReader(kind === "append" ? entryMemory(bytes) : bytes);
  r.byte();
  if (kind === undefined) throw new TswarmError("internal", "unknown kind of raft message");
  const envelope = { from: r.varint(), to: r.varint(), term: r.varint() };
  const message = { ...envelope, ...readBody(r, kind) };
  if (!r.atEnd) throw new TswarmError("internal", `bytes left over after a raft message (${kind})`);
  return message;
};

const readBody = (r: ByteReader, kind: Message["kind"]): MessageBody => {
  switch (kind) {
    case "append": {
      const head = { kind, prevIndex: r.varint(), prevTerm: r.varint(), commit: r.varint() };
      const count = r.varint();
      const entries: Entry[] = [];
      for (let i = 0; i < count; i++) entries.push(readEntry(r));
      return { ...head, entries };
    }
    case "append-response":
      return { kind, index: r.varint(), reject: r.byte() === 1, hintIndex: r.varint(), hintTerm: r.varint() };
    case "heartbeat":
      return { kind, commit: r.varint(), round: r.varint() };
    case "heartbeat-response":
      return { kind, round: r.varint() };
    case "vote":
    case "pre-vote":
      return { kind, lastIndex: r.varint(), lastTerm: r.varint(), transfer: r.byte() === 1 };
    case "vote-response":
    case "pre-vote-response":
      return { kind, reject: r.byte() === 1 };
    case "snapshot":
      return { kind, snapshot: { index: r.varint(), term: r.varint(), conf: readConf(r) } };
    case "timeout-now":
      return { kind };
    case "read-index":
      return { kind, context: r.varint() };
    case "read-index-response":
      return { kind, context: r.varint(), index: r.varint() };
    case "transfer-leader":
      return { kind, target: r.varint() };
  }
};
