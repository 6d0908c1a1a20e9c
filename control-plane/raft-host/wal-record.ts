// The records of the write-ahead log as bytes. The first byte is the kind.
import { newerVersion, TswarmError } from "#base/errors.ts";
import type { Entry, HardState } from "#control-plane/raft/types.ts";
import { ByteReader, ByteWriter } from "#control-plane/raft-host/byte-codec.ts";
import { entryMemory } from "#control-plane/raft-host/entry-memory.ts";
import type { KeyUse } from "#control-plane/raft-host/keys.ts";
import { readEntry, writeEntry } from "#control-plane/raft-host/message-codec.ts";

/** `previousEnd`: where the records of the segment before end; shows when it has lost its end. */
export type WalHeader = {
  readonly raftId: number;
  readonly clusterId: string;
  readonly seq: number;
  readonly previousEnd: number;
  /** What the records behind it are encrypted with; null: written by a version that did not encrypt (format 1). */
  readonly key: KeyUse | null;
};

export type WalRecord =
  | { readonly kind: "header"; readonly header: WalHeader }
  | { readonly kind: "entry"; readonly entry: Entry }
  | { readonly kind: "hard-state"; readonly hardState: HardState }
  /** A snapshot file of that index is complete. `reset`: it was received and replaces the whole log. */
  | { readonly kind: "snapshot"; readonly index: number; readonly term: number; readonly reset: boolean }
  /** The members' names and addresses as the host encodes them. */
  | { readonly kind: "peers"; readonly data: Uint8Array }
  /** From here on another salt: a process opened the log again. */
  | { readonly kind: "key"; readonly key: KeyUse };

/** Beside format 1, which had no encryption. */
const FORMAT = 2;

const writeKeyUse = (w: ByteWriter, { id, salt }: KeyUse): void => {
  w.varint(id);
  w.bytes(salt);
};

const readKeyUse = (r: ByteReader): KeyUse => ({ id: r.varint(), salt: r.bytes() });

export const encodeRecord = (record: WalRecord): Buffer => {
  const w = new ByteWriter(record.kind === "entry" ? record.entry.data.length + 32 : 64);
  switch (record.kind) {
    case "header":
      w.byte(1);
      w.byte(record.header.key === null ? 1 : FORMAT);
      w.varint(record.header.raftId);
      w.bytes(Buffer.from(record.header.clusterId));
      w.varint(record.header.seq);
      w.varint(record.header.previousEnd);
      if (record.header.key !== null) writeKeyUse(w, record.header.key);
      break;
    case "entry":
      w.byte(2);
      writeEntry(w, record.entry);
      break;
    case "hard-state":
      w.byte(3);
      w.varint(record.hardState.term);
      w.varint(record.hardState.vote);
      w.varint(record.hardState.commit);
      break;
    case "snapshot":
      w.byte(4);
      w.varint(record.index);
      w.varint(record.term);
      w.byte(record.reset ? 1 : 0);
      break;
    case "peers":
      w.byte(5);
      w.bytes(record.data);
      break;
    case "key":
      w.byte(6);
      writeKeyUse(w, record.key);
  }
  return w.done();
};

export const decodeRecord = (payload: Uint8Array): WalRecord => {
  const r = new ByteReader(entryMemory(payload));
  const code = r.byte();
  switch (code) {
    case 1: {
      const format = r.byte();
      if (format > FORMAT) throw newerVersion("the log", format, FORMAT);
      if (format === 0) throw new TswarmError("internal", "a log has no format 0");
      const raftId = r.varint();
      const clusterId = Buffer.from(r.bytes()).toString();
      const place = { seq: r.varint(), previousEnd: r.varint() };
      return { kind: "header", header: { raftId, clusterId, ...place, key: format === 1 ? null : readKeyUse(r) } };
    }
    case 2:
      return { kind: "entry", entry: readEntry(r) };
    case 3:
      return { kind: "hard-state", hardState: { term: r.varint(), vote: r.varint(), commit: r.varint() } };
    case 4:
      return { kind: "snapshot", index: r.varint(), term: r.varint(), reset: r.byte() === 1 };
    case 5:
      return { kind: "peers", data: r.bytes() };
    case 6:
      return { kind: "key", key: readKeyUse(r) };
    default:
      throw new TswarmError("internal", `unknown kind of log record (${code})`);
  }
};
