// Records in a segment of the write-ahead log, and what a damaged place means.
//
//   0  u32 payload length      4  u32 crc32 of the payload
//   8  u32 durable: all bytes of the segment before this offset were synced when the record was written
//  12  u32 crc32 of bytes 0..11
//  16  payload, one byte 0xa5, zeros up to a multiple of 16
//
// Segments are filled with zeros ahead. A header never crosses a sector (512), so a torn write leaves it whole or zero.
// A write that was never acknowledged may be torn and is cut; damage to synced bytes is corruption and is refused.
// Limit: damage inside the very last write is taken as torn when it looks like it (a zero sector or a zero end).
import { crc32 } from "node:zlib";

const HEADER = 16;
const TRAILER = 0xa5;
const SECTOR = 512;

const padded = (length: number): number => Math.ceil((HEADER + length + 1) / 16) * 16;

/** Bytes the record takes in the segment. */
export const frameSize = (payload: Uint8Array): number => padded(payload.length);

/** Writes the record into `target` at `at`; the padding must be zero already. */
export const writeFrame = (target: Buffer, at: number, payload: Uint8Array, durable: number): void => {
  target.writeUInt32LE(payload.length, at);
  target.writeUInt32LE(crc32(payload), at + 4);
  target.writeUInt32LE(durable, at + 8);
  target.writeUInt32LE(crc32(target.subarray(at, at + 12)), at + 12);
  target.set(payload, at + HEADER);
  target[at + HEADER + payload.length] = TRAILER;
};

type Frame = { readonly payload: Buffer; readonly end: number; readonly durable: number };
/** Where a record begins, and what was synced when it was written. */
export type Place = { readonly at: number; readonly durable: number };

const headerOk = (bytes: Buffer, at: number): boolean =>
  at + HEADER <= bytes.length &&
  bytes.readUInt32LE(at + 12) === crc32(bytes.subarray(at, at + 12)) &&
  // Sixteen zero bytes are no header.
  bytes.readUInt32LE(at) > 0;

const frameAt = (bytes: Buffer, at: number): Frame | undefined => {
  if (!headerOk(bytes, at)) return undefined;
  const length = bytes.readUInt32LE(at);
  if (at + HEADER + length + 1 > bytes.length) return undefined;
  const payload = bytes.subarray(at + HEADER, at + HEADER + length);
  if (bytes[at + HEADER + length] !== TRAILER || crc32(payload) !== bytes.readUInt32LE(at + 4)) return undefined;
  return { payload, end: at + padded(length), durable: bytes.readUInt32LE(at + 8) };
};

const isZero = (bytes: Buffer, from: number, to: number): boolean => {
  for (let i = from; i < to; i++) if (bytes[i] !== 0) return false;
  return true;
};

export type Segment = {
  readonly payloads: readonly Buffer[];
  /** Of each payload. */
  readonly places: readonly Place[];
  /** Where the good records end, padding included: it may be missing from a file that was cut off. */
  readonly end: number;
  /** clean: only zeros follow. torn: an unfinished write follows. corrupt: synced bytes are damaged. */
  readonly tail: "clean" | "torn" | "corrupt";
};

export const readSegment = (bytes: Buffer): Segment => {
  const payloads: Buffer[] = [];
  const places: Place[] = [];
  let end = 0;
  for (let frame = frameAt(bytes, 0); frame !== undefined; frame = frameAt(bytes, end)) {
    // A copy: a part would keep the whole segment in memory for as long as its entry lives.
    payloads.push(Buffer.from(frame.payload));
    places.push({ at: end, durable: frame.durable });
    end = frame.end;
  }
  return { payloads, places, end, tail: tailAt(bytes, end) };
};

const tailAt = (bytes: Buffer, at: number): Segment["tail"] => {
  if (isZero(bytes, at, bytes.length)) return "clean";
  // A later record that was written when this place was synced already proves damage.
  for (let later = at + 16; later < bytes.length; later += 16) {
    const frame = frameAt(bytes, later);
    if (frame !== undefined && frame.durable > at) return "corrupt";
  }
  const afterHeader = at + HEADER;
  if (!headerOk(bytes, at)) {
    const headerZero = isZero(bytes, at, Math.min(afterHeader, bytes.length));
    return headerZero || isZero(bytes, Math.min(afterHeader, bytes.length), bytes.length) ? "torn" : "corrupt";
  }
  const length = bytes.readUInt32LE(at);
  if (afterHeader + length + 1 > bytes.length || bytes[afterHeader + length] === 0) return "torn";
  for (let from = afterHeader; from < afterHeader + length; ) {
    const to = Math.min((Math.floor(from / SECTOR) + 1) * SECTOR, afterHeader + length);
    if (to - from === SECTOR && isZero(bytes, from, to)) return "torn";
    from = to;
  }
  return "corrupt";
};
