// Numbers and byte strings for the codecs of this folder: varints (7 bits a byte, low first, exact to 2^53), length-prefixed
// bytes. Decoding checks bounds and throws `internal`.
import { TswarmError } from "#base/errors.ts";

export class ByteWriter {
  #buffer: Buffer;
  #length = 0;

  constructor(capacity = 256) {
    this.#buffer = Buffer.allocUnsafe(capacity);
  }

  #reserve(count: number): void {
    if (this.#length + count <= this.#buffer.length) return;
    const larger = Buffer.allocUnsafe(Math.max(this.#buffer.length * 2, this.#length + count));
    this.#buffer.copy(larger, 0, 0, this.#length);
    this.#buffer = larger;
  }

  byte(value: number): void {
    this.#reserve(1);
    this.#buffer[this.#length++] = value;
  }

  varint(value: number): void {
    this.#reserve(8);
    let rest = value;
    while (rest >= 0x80) {
      this.#buffer[this.#length++] = (rest % 0x80) | 0x80;
      rest = Math.floor(rest / 0x80);
    }
    this.#buffer[this.#length++] = rest;
  }

  bytes(value: Uint8Array): void {
    this.varint(value.length);
    this.#reserve(value.length);
    this.#buffer.set(value, this.#length);
    this.#length += value.length;
  }

  numbers(values: readonly number[]): void {
    this.varint(values.length);
    for (const value of values) this.varint(value);
  }

  /** A view of what was written; valid until the next write. */
  done(): Buffer {
    return this.#buffer.subarray(0, this.#length);
  }
}

export class ByteReader {
  #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get atEnd(): boolean {
    return this.#at >= this.#bytes.length;
  }

  byte(): number {
    const value = this.#bytes[this.#at++];
    if (value === undefined) throw new TswarmError("internal", "encoded data ends too early");
    return value;
  }

  varint(): number {
    let value = 0;
    let scale = 1;
    for (;;) {
      const byte = this.byte();
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) break;
      scale *= 0x80;
    }
    if (!Number.isSafeInteger(value)) throw new TswarmError("internal", "encoded number is too large");
    return value;
  }

  /** A view, not a copy. */
  bytes(): Uint8Array {
    const length = this.varint();
    const end = this.#at + length;
    if (end > this.#bytes.length) throw new TswarmError("internal", "encoded data ends too early");
    const view = this.#bytes.subarray(this.#at, end);
    this.#at = end;
    return view;
  }

  numbers(): number[] {
    const count = this.varint();
    if (count > this.#bytes.length) throw new TswarmError("internal", "encoded list is too long");
    return Array.from({ length: count }, () => this.varint());
  }
}
