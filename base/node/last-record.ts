// The last of a few small records in a file: each is appended behind the ones before, so that a change needs neither a new
// file nor a rename (ext4 writes data out when a file is renamed onto another, and searches long for a free inode where many
// files were deleted lately). For files that are written some ten times in their life; nothing is ever taken away.
// A record: length and CRC-32 of the data (little-endian, 4 bytes each), the data.
import { appendFileSync, closeSync, fstatSync, ftruncateSync, openSync, readFileSync, truncateSync } from "node:fs";
import { crc32 } from "node:zlib";

const HEADER_BYTES = 8;

/**
 * Makes the file when there is none. A crash of the process leaves the last record or this one. A write that fails half way
 * (disk full) is taken back before the error is thrown: records behind it could never be read.
 */
export const appendRecord = (path: string, data: Uint8Array): void => {
  const record = Buffer.alloc(HEADER_BYTES + data.length);
  record.writeUInt32LE(data.length, 0);
  record.writeUInt32LE(crc32(data), 4);
  record.set(data, HEADER_BYTES);
  const file = openSync(path, "a", 0o600);
  try {
    const before = fstatSync(file).size;
    try {
      appendFileSync(file, record);
    } catch (error) {
      ftruncateSync(file, before);
      throw error;
    }
  } finally {
    closeSync(file);
  }
};

/**
 * The last whole record before anything that is none, which is cut off, so that what is appended later can be read. undefined
 * without a record. Throws when the file can't be read.
 */
export const readLastRecord = (path: string): Buffer | undefined => {
  const bytes = readFileSync(path);
  let last: Buffer | undefined;
  let at = 0;
  while (at + HEADER_BYTES <= bytes.length) {
    const end = at + HEADER_BYTES + bytes.readUInt32LE(at);
    const data = bytes.subarray(at + HEADER_BYTES, end);
    if (end > bytes.length || data.length === 0 || crc32(data) !== bytes.readUInt32LE(at + 4)) break;
    last = data;
    at = end;
  }
  if (at < bytes.length) truncateSync(path, at);
  return last;
};
