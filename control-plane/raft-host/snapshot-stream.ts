// A snapshot that is not encrypted: on its way to another member, inside mutual TLS, and in files of older versions.
//
//   "TSWSNAP1", u32 header length, u32 crc of the header, header (cluster, meta, peers), then pieces: u32 length, u32 crc,
//   data; a piece of length 0 whose crc field is the crc of all data ends it.
import { crc32 } from "node:zlib";
import { TswarmError } from "#base/errors.ts";
import type { SnapshotMeta } from "#control-plane/raft/types.ts";
import { ByteReader, ByteWriter } from "#control-plane/raft-host/byte-codec.ts";
import { readConf, writeConf } from "#control-plane/raft-host/message-codec.ts";
import type { PieceReader } from "#control-plane/raft-host/piece-reader.ts";

export type SnapshotHeader = {
  readonly clusterId: string;
  readonly meta: SnapshotMeta;
  /** The members' names and addresses as the host encodes them. */
  readonly peers: Uint8Array;
};

/** The state's chunks are valid only when they come to their end without an error. */
export type OpenSnapshot = { readonly header: SnapshotHeader; readonly chunks: AsyncGenerator<Buffer, void> };

export const STREAM_MAGIC = Buffer.from("TSWSNAP1");
export const MAX_PIECE = 64 << 20;

export const damaged = (name: string, why: string) =>
  new TswarmError("internal", `snapshot ${name} is damaged: ${why}`);

export const encodeHeader = ({ clusterId, meta, peers }: SnapshotHeader): Buffer => {
  const w = new ByteWriter();
  w.bytes(Buffer.from(clusterId));
  w.varint(meta.index);
  w.varint(meta.term);
  writeConf(w, meta.conf);
  w.bytes(peers);
  return w.done();
};

export const decodeHeader = (bytes: Uint8Array): SnapshotHeader => {
  const r = new ByteReader(bytes);
  const clusterId = Buffer.from(r.bytes()).toString();
  const meta = { index: r.varint(), term: r.varint(), conf: readConf(r) };
  return { clusterId, meta, peers: r.bytes() };
};

export const lengthAndCrc = (length: number, crc: number): Buffer => {
  const b = Buffer.alloc(8);
  b.writeUInt32LE(length, 0);
  b.writeUInt32LE(crc, 4);
  return b;
};

/** A piece and its checksum, which says nothing about whether it is the right one. */
export const takeChecked = async (
  name: string,
  reader: PieceReader,
): Promise<{ readonly data: Buffer; readonly crc: number }> => {
  const head = await reader.take(8);
  if (head === undefined) throw damaged(name, "it ends too early");
  const length = head.readUInt32LE(0);
  const crc = head.readUInt32LE(4);
  if (length === 0) return { data: Buffer.alloc(0), crc };
  const data = length <= MAX_PIECE ? await reader.take(length) : undefined;
  if (data === undefined || crc32(data) !== crc) throw damaged(name, "wrong checksum");
  return { data, crc };
};

export async function* encodeStream({ header, chunks }: OpenSnapshot): AsyncGenerator<Buffer, void> {
  const bytes = encodeHeader(header);
  yield Buffer.concat([STREAM_MAGIC, lengthAndCrc(bytes.length, crc32(bytes)), bytes]);
  let total = 0;
  for await (const chunk of chunks) {
    total = crc32(chunk, total);
    yield lengthAndCrc(chunk.length, crc32(chunk));
    yield chunk;
  }
  yield lengthAndCrc(0, total);
}

/** What follows the magic. Throws `internal` on damage, at the latest at the end of the chunks. */
export const decodeStream = async (name: string, reader: PieceReader): Promise<OpenSnapshot> => {
  const { data } = await takeChecked(name, reader);
  if (data.length === 0) throw damaged(name, "it has no header");
  const chunks = async function* () {
    for (let total = 0; ; ) {
      const { data: chunk, crc } = await takeChecked(name, reader);
      if (chunk.length === 0) {
        if (crc !== total || (await reader.take(1)) !== undefined) throw damaged(name, "wrong end");
        return;
      }
      total = crc32(chunk, total);
      yield chunk;
    }
  };
  return { header: decodeHeader(data), chunks: chunks() };
};
