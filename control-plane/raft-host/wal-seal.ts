// Encrypted records in the log: all records of one write are sealed at once, as one frame. Its payload is the byte 7 and the
// ciphertext of records, each with its length. Segment, place and `durable` are bound to it, so that no frame counts in
// another's place.
import { ByteReader, ByteWriter } from "#control-plane/raft-host/byte-codec.ts";
import { type DataKeys, type KeyUse, Opener, Sealer } from "#control-plane/raft-host/keys.ts";
import type { Place } from "#control-plane/raft-host/wal-frame.ts";

const SEALED = 7;
const KIND = Buffer.from([SEALED]);
const PURPOSE = "write-ahead log";

const boundTo = (seq: number, { at, durable }: Place): Buffer => {
  const b = Buffer.alloc(16);
  b.writeUIntLE(seq, 0, 6);
  b.writeUInt32LE(at, 8);
  b.writeUInt32LE(durable, 12);
  return b;
};

export const isSealed = (payload: Uint8Array): boolean => payload[0] === SEALED;

/** Seals what one process writes to one segment. */
export const recordSealer = (keys: DataKeys, { id, salt }: KeyUse, seq: number) => {
  const sealer = new Sealer(keys.get(id)!, salt, PURPOSE);
  return (records: readonly Uint8Array[], place: Place): Buffer => {
    const w = new ByteWriter(records.reduce((sum, r) => sum + r.length + 5, 0));
    for (const record of records) w.bytes(record);
    return Buffer.concat([KIND, ...sealer.seal(w.done(), boundTo(seq, place))]);
  };
};

/** Opens frames in the order in which they were sealed. Throws when one is not what was sealed there. */
export const recordOpener = (key: Uint8Array, salt: Uint8Array, seq: number) => {
  const opener = new Opener(key, salt, PURPOSE);
  return (payload: Uint8Array, place: Place): Uint8Array[] => {
    const r = new ByteReader(opener.open(payload.subarray(KIND.length), boundTo(seq, place)));
    const records: Uint8Array[] = [];
    while (!r.atEnd) records.push(r.bytes());
    return records;
  };
};
