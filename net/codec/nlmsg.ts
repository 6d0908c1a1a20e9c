// Netlink message framing: header (16 bytes), payload, attributes (u16 length, u16 type, value padded to 4).
// Everything but explicitly big-endian attributes is in host order; Node runs on little-endian machines only.
// References: linux/netlink.h, RFC 3549, Documentation/userspace-api/netlink/intro.rst.

export const NLM_F = {
  REQUEST: 0x1,
  MULTI: 0x2,
  ACK: 0x4,
  DUMP_INTR: 0x10,
  DUMP: 0x300,
  REPLACE: 0x100,
  EXCL: 0x200,
  CREATE: 0x400,
  APPEND: 0x800,
  CAPPED: 0x100,
  ACK_TLVS: 0x200,
} as const;

export const NLMSG = { NOOP: 1, ERROR: 2, DONE: 3, OVERRUN: 4 } as const;

const HEADER_BYTES = 16;
const NLA_F_NESTED = 0x8000;
const NLA_TYPE_MASK = 0x3fff;
const NLMSGERR_ATTR_MSG = 1;
const NLMSGERR_ATTR_OFFS = 2;

const utf8 = new TextEncoder();
const text = new TextDecoder();
const align = (n: number): number => (n + 3) & ~3;

/** Writes the payload of one message. Integers in host order unless the name says otherwise. */
export class MessageWriter {
  #bytes = new Uint8Array(256);
  #view = new DataView(this.#bytes.buffer);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  // The place first: growing replaces the buffer and its view.
  u8(value: number): this {
    const at = this.#grow(1);
    this.#bytes[at] = value;
    return this;
  }
  u16(value: number): this {
    const at = this.#grow(2);
    this.#view.setUint16(at, value, true);
    return this;
  }
  u32(value: number): this {
    const at = this.#grow(4);
    this.#view.setUint32(at, value, true);
    return this;
  }
  raw(value: Uint8Array): this {
    const at = this.#grow(value.length);
    this.#bytes.set(value, at);
    return this;
  }

  attr(type: number, value: Uint8Array): this {
    this.u16(4 + value.length).u16(type);
    return this.raw(value).#pad();
  }
  attrFlag(type: number): this {
    return this.u16(4).u16(type);
  }
  attrU8(type: number, value: number): this {
    return this.u16(5).u16(type).u8(value).#pad();
  }
  attrU16(type: number, value: number): this {
    return this.u16(6).u16(type).u16(value).#pad();
  }
  attrU16be(type: number, value: number): this {
    return this.u16(6)
      .u16(type)
      .u8(value >>> 8)
      .u8(value & 0xff)
      .#pad();
  }
  attrU32(type: number, value: number): this {
    return this.u16(8).u16(type).u32(value);
  }
  /** A NUL-terminated string. */
  attrString(type: number, value: string): this {
    return this.attr(type, utf8.encode(`${value}\0`));
  }
  nest(type: number, body: (w: this) => void, flags = 0): this {
    const start = this.#length;
    this.u16(0).u16(type | flags);
    body(this);
    this.#view.setUint16(start, this.#length - start, true);
    return this;
  }

  finish(): Uint8Array {
    this.#view.setUint32(0, this.#length, true);
    return this.#bytes.slice(0, this.#length);
  }

  #pad(): this {
    this.#grow(align(this.#length) - this.#length);
    return this;
  }
  #grow(by: number): number {
    const at = this.#length;
    this.#length += by;
    if (this.#length > this.#bytes.length) {
      const larger = new Uint8Array(Math.max(this.#length, this.#bytes.length * 2));
      larger.set(this.#bytes);
      this.#bytes = larger;
      this.#view = new DataView(larger.buffer);
    }
    return at;
  }
}

/** nfnetlink wants its containers marked; rtnetlink takes both. */
export const NESTED = NLA_F_NESTED;

/** One message; the socket writes the sequence number before it sends (see `setSequence`). */
export const message = (type: number, flags: number, body: (w: MessageWriter) => void): Uint8Array => {
  const w = new MessageWriter();
  w.u32(0).u16(type).u16(flags).u32(0).u32(0);
  body(w);
  return w.finish();
};

export const setSequence = (bytes: Uint8Array, sequence: number): void =>
  new DataView(bytes.buffer, bytes.byteOffset).setUint32(8, sequence, true);

export type Attributes = ReadonlyMap<number, Uint8Array>;

/** Attributes by type; of a repeated type the last one wins. Throws on a length that leaves the buffer. */
export const parseAttributes = (bytes: Uint8Array): Attributes => {
  const found = new Map<number, Uint8Array>();
  for (const [type, value] of attributeList(bytes)) found.set(type, value);
  return found;
};

export const attributeList = (bytes: Uint8Array): [type: number, value: Uint8Array][] => {
  const list: [number, Uint8Array][] = [];
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 0; at + 4 <= bytes.length; ) {
    const length = view.getUint16(at, true);
    if (length < 4 || at + length > bytes.length) throw new RangeError(`netlink attribute of ${length} bytes at ${at}`);
    list.push([view.getUint16(at + 2, true) & NLA_TYPE_MASK, bytes.subarray(at + 4, at + length)]);
    at += align(length);
  }
  return list;
};

export const readU8 = (bytes: Uint8Array | undefined): number | undefined => bytes?.[0];
export const readU16 = (bytes: Uint8Array | undefined): number | undefined =>
  bytes === undefined ? undefined : new DataView(bytes.buffer, bytes.byteOffset).getUint16(0, true);
export const readU16be = (bytes: Uint8Array | undefined): number | undefined =>
  bytes === undefined ? undefined : new DataView(bytes.buffer, bytes.byteOffset).getUint16(0, false);
export const readU32 = (bytes: Uint8Array | undefined): number | undefined =>
  bytes === undefined ? undefined : new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
export const readString = (bytes: Uint8Array | undefined): string | undefined => {
  if (bytes === undefined) return undefined;
  const end = bytes.indexOf(0);
  return text.decode(end < 0 ? bytes : bytes.subarray(0, end));
};

export type NetlinkMessage = {
  readonly type: number;
  readonly flags: number;
  readonly sequence: number;
  /** A view into the receive buffer: valid until the next receive. */
  readonly payload: Uint8Array;
};

/** The messages of one datagram. Throws RangeError when a length leaves the buffer. */
export function* messagesOf(datagram: Uint8Array): Generator<NetlinkMessage> {
  const view = new DataView(datagram.buffer, datagram.byteOffset, datagram.byteLength);
  for (let at = 0; at + HEADER_BYTES <= datagram.length; ) {
    const length = view.getUint32(at, true);
    if (length < HEADER_BYTES || at + length > datagram.length) {
      throw new RangeError(`netlink message of ${length} bytes at ${at} of ${datagram.length}`);
    }
    yield {
      type: view.getUint16(at + 4, true),
      flags: view.getUint16(at + 6, true),
      sequence: view.getUint32(at + 8, true),
      payload: datagram.subarray(at + HEADER_BYTES, at + length),
    };
    at += align(length);
  }
}

/** NLMSG_ERROR (an acknowledgement when `errno` is 0) or the status in NLMSG_DONE. */
export type Acknowledgement = { readonly errno: number; readonly text: string; readonly offset: number | undefined };

/** Reads NLMSG_ERROR and NLMSG_DONE with the kernel's extended ACK (needs NETLINK_EXT_ACK on the socket). */
export const parseAcknowledgement = (m: NetlinkMessage): Acknowledgement => {
  const code = m.payload.length >= 4 ? new DataView(m.payload.buffer, m.payload.byteOffset).getInt32(0, true) : 0;
  let tail = 4;
  if (m.type === NLMSG.ERROR) {
    // The request's header follows, and its payload unless the kernel capped it.
    const requestLength = readU32(m.payload.subarray(4)) ?? HEADER_BYTES;
    tail += m.flags & NLM_F.CAPPED ? HEADER_BYTES : align(requestLength);
  }
  if (!(m.flags & NLM_F.ACK_TLVS) || tail >= m.payload.length) return { errno: 0 - code, text: "", offset: undefined };
  const attributes = parseAttributes(m.payload.subarray(tail));
  return {
    errno: 0 - code,
    text: readString(attributes.get(NLMSGERR_ATTR_MSG)) ?? "",
    offset: readU32(attributes.get(NLMSGERR_ATTR_OFFS)),
  };
};

/**
 * Collects the answer to one request from datagrams, however the kernel cuts them. `push` returns true when the answer is
 * complete: an acknowledgement, or NLMSG_DONE of a dump. Messages with another sequence number are skipped.
 */
export class ReplyReader {
  /** Copies: they outlive the receive buffer. */
  readonly messages: { type: number; payload: Uint8Array }[] = [];
  /** The dump saw a table that changed meanwhile (NLM_F_DUMP_INTR): ask again. */
  interrupted = false;
  acknowledgement: Acknowledgement | undefined;
  readonly #sequence: number;

  constructor(sequence: number) {
    this.#sequence = sequence;
  }

  push(datagram: Uint8Array): boolean {
    for (const m of messagesOf(datagram)) {
      if (m.sequence !== this.#sequence) continue;
      if (m.flags & NLM_F.DUMP_INTR) this.interrupted = true;
      if (m.type === NLMSG.ERROR || m.type === NLMSG.DONE) this.acknowledgement = parseAcknowledgement(m);
      else if (m.type !== NLMSG.NOOP) this.messages.push({ type: m.type, payload: m.payload.slice() });
    }
    return this.acknowledgement !== undefined;
  }
}
