import { expect } from "chai";
import fc from "fast-check";
import { addressBytes, addressText, macBytes, macText, parsePrefix } from "./address.ts";
import { attributeList, message, messagesOf, NLM_F, NLMSG, ReplyReader, setSequence } from "./nlmsg.ts";
import { GOLDEN_SEQUENCE, goldenDatagrams } from "./testing/golden.ts";

type Tree = { type: number; value: Uint8Array | Tree[] };

/** The slow and obvious encoder: concatenates arrays of bytes. */
const slow = (trees: readonly Tree[]): number[] =>
  trees.flatMap(({ type, value }) => {
    const body = value instanceof Uint8Array ? [...value] : slow(value);
    const length = body.length + 4;
    const padding = new Array((4 - (length % 4)) % 4).fill(0);
    return [length & 255, length >> 8, type & 255, type >> 8, ...body, ...padding];
  });

const leaf = fc.record({ type: fc.integer({ min: 0, max: 0x3fff }), value: fc.uint8Array({ maxLength: 300 }) });
const tree: fc.Arbitrary<Tree[]> = fc.array(
  fc.oneof(leaf, fc.record({ type: fc.integer({ min: 0, max: 0x3fff }), value: fc.array(leaf, { maxLength: 4 }) })),
  { maxLength: 8 },
);

describe("netlink framing", () => {
  it("writes what the obvious encoder writes, and reads it back", () => {
    fc.assert(
      fc.property(tree, (trees) => {
        const bytes = message(5, 6, (w) => {
          const write = (list: readonly Tree[]): void => {
            for (const { type, value } of list) {
              if (value instanceof Uint8Array) w.attr(type, value);
              else w.nest(type, () => write(value));
            }
          };
          write(trees);
        });
        const expected = slow(trees);
        expect([...bytes.subarray(16)]).to.deep.equal(expected);
        const [only, ...others] = [...messagesOf(bytes)];
        expect(others).to.deep.equal([]);
        expect(only).to.include({ type: 5, flags: 6, sequence: 0 });
        expect(attributeList(only!.payload).map(([type]) => type)).to.deep.equal(trees.map((t) => t.type));
      }),
      { numRuns: 200, seed: 1 },
    );
  });

  it("collects a dump however it is cut into datagrams", () => {
    const pieces = goldenDatagrams("link-dump").flatMap((d) => {
      const found: Uint8Array[] = [];
      for (let at = 0; at < d.length; ) {
        const length = new DataView(d.buffer, d.byteOffset + at).getUint32(0, true);
        found.push(d.subarray(at, at + length));
        at += (length + 3) & ~3;
      }
      return found;
    });
    const whole = new ReplyReader(GOLDEN_SEQUENCE);
    expect(whole.push(Buffer.concat(pieces))).to.equal(true);
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 3 }), { minLength: pieces.length }), (sizes) => {
        const reader = new ReplyReader(GOLDEN_SEQUENCE);
        for (let at = 0, i = 0; at < pieces.length; at += sizes[i++]!) {
          const complete = reader.push(Buffer.concat(pieces.slice(at, at + sizes[i]!)));
          expect(complete).to.equal(at + sizes[i]! >= pieces.length);
        }
        expect(reader.messages).to.deep.equal(whole.messages);
      }),
      { numRuns: 30, seed: 2 },
    );
  });

  it("skips foreign sequence numbers and notices an interrupted dump", () => {
    const foreign = message(NLMSG.DONE, NLM_F.MULTI, (w) => w.u32(0));
    setSequence(foreign, 3);
    const own = message(16, NLM_F.MULTI | NLM_F.DUMP_INTR, (w) => w.u32(1));
    const done = message(NLMSG.DONE, NLM_F.MULTI, (w) => w.u32(0));
    for (const m of [own, done]) setSequence(m, 4);
    const reader = new ReplyReader(4);
    expect(reader.push(Buffer.concat([foreign, own]))).to.equal(false);
    expect(reader.push(done)).to.equal(true);
    expect(reader.interrupted).to.equal(true);
    expect(reader.messages).to.have.length(1);
  });

  it("refuses lengths that leave the buffer", () => {
    const datagram = goldenDatagrams("addr-dump")[0]!;
    for (let length = 17; length < datagram.length; length++) {
      try {
        for (const m of messagesOf(datagram.subarray(0, length))) attributeList(m.payload.subarray(8));
      } catch (error) {
        expect(error).to.be.instanceOf(RangeError);
      }
    }
    expect(() => [...messagesOf(datagram.subarray(0, 20))]).to.throw(RangeError);
    expect(() => attributeList(Uint8Array.of(3, 0, 1, 0))).to.throw(RangeError);
  });
});

describe("addresses as bytes", () => {
  it("writes RFC 5952 text", () => {
    for (const [given, canonical] of [
      ["::", "::"],
      ["::1", "::1"],
      ["1::", "1::"],
      ["2001:DB8:0:0:0:0:2:1", "2001:db8::2:1"],
      ["2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"],
      ["2001:0:0:1:0:0:0:1", "2001:0:0:1::1"],
      ["2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"],
      ["10.0.0.1", "10.0.0.1"],
    ] as const) {
      expect(addressText(addressBytes(given))).to.equal(canonical);
    }
  });

  it("survives the way there and back", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 16, maxLength: 16 }), (b) => {
        expect(addressBytes(addressText(b))).to.deep.equal(b);
      }),
      { seed: 3 },
    );
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 6, maxLength: 6 }), (b) => {
        expect(macBytes(macText(b))).to.deep.equal(b);
      }),
      { seed: 4 },
    );
    // Zeros are what compression is about.
    const sparse = fc
      .array(fc.constantFrom(0, 0, 0, 1), { minLength: 16, maxLength: 16 })
      .map((a) => Uint8Array.from(a));
    fc.assert(
      fc.property(sparse, (b) => {
        expect(addressBytes(addressText(b))).to.deep.equal(b);
      }),
      { seed: 5 },
    );
  });

  it("refuses what is none", () => {
    for (const text of [
      "",
      "10.0.0",
      "10.0.0.256",
      "1.2.3.4.5",
      ":",
      ":::",
      "1:2:3:4:5:6:7",
      "1::2::3",
      "12345::",
      "::1.2.3",
      "1:2:3:4:5:6:7:8::",
      "x",
    ]) {
      expect(() => addressBytes(text), text).to.throw(RangeError);
    }
    for (const text of ["10.0.0.0/33", "fd00::/129", "10.0.0.0/", "10.0.0.0/8/8", "10.0.0.0/-1"]) {
      expect(() => parsePrefix(text), text).to.throw(RangeError);
    }
    expect(parsePrefix("10.0.0.1")).to.deep.equal({ address: "10.0.0.1", bits: 32 });
    for (const text of ["02:00:00:00:00", "02:00:00:00:00:0g", "0200.0000.0000"])
      expect(() => macBytes(text), text).to.throw(RangeError);
  });
});
