import { expect } from "chai";
import { decode, encode } from "dns-packet";
import fc from "fast-check";
import { seededRandom } from "#base/random.ts";
import { parseQuery, RCODE, response, upstreamQuery } from "./packet.ts";
import { lifetimesOf, questionOf, truncated } from "./wire.ts";
import { indexZone, resolve } from "./zone.ts";

const parsed = (bytes: Buffer) => {
  const p = parseQuery(bytes);
  if (p.kind !== "query") throw new Error(p.kind);
  return p.query;
};

describe("DNS messages", () => {
  it("answers what dns-packet reads", () => {
    const query = parsed(encode({ type: "query", id: 77, questions: [{ type: "AAAA", name: "Web.Front" }] }));
    const records = [
      { name: "Web.Front", type: "A", ttl: 5, data: "10.0.0.2" },
      { name: "Web.Front", type: "AAAA", ttl: 5, data: "fd00::1:2" },
      { name: "Web.Front", type: "PTR", ttl: 5, data: "web.1.abc.front" },
    ] as const;
    const answer = decode(response(query, RCODE.NOERROR, records));
    expect(answer).to.include({
      id: 77,
      flag_qr: true,
      flag_aa: true,
      flag_ra: true,
      flag_rd: false,
      rcode: "NOERROR",
    });
    expect(answer.answers!.map((a) => ("data" in a ? [a.name, a.type, a.data] : []))).to.deep.equal(
      records.map((r) => [r.name, r.type, r.data]),
    );
  });

  it("survives whatever a container sends", () => {
    const good = encode({
      type: "query",
      id: 1,
      questions: [{ type: "A", name: "web" }],
      additionals: [
        {
          type: "OPT",
          name: ".",
          udpPayloadSize: 4096,
          extendedRcode: 0,
          ednsVersion: 0,
          flags: 0,
          flag_do: false,
          options: [],
        },
      ],
    });
    const mutated = fc
      .array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { maxLength: 6 })
      .map((changes) => changes.reduce((b, [at, value]) => b.fill(value, at, at + 1), Buffer.from(good)));
    const strangeName = fc.array(fc.uint8Array({ minLength: 1, maxLength: 63 }), { maxLength: 4 }).map((labels) => {
      const header = Buffer.from([0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
      return Buffer.concat([header, ...labels.flatMap((l) => [Buffer.of(l.length), l]), Buffer.of(0, 0, 1, 0, 1)]);
    });
    const zone = indexZone({ stack: "", networks: [] });
    const random = seededRandom(1);
    fc.assert(
      fc.property(
        fc.oneof(
          mutated,
          strangeName,
          fc.uint8Array({ maxLength: 80 }).map((b) => Buffer.from(b)),
        ),
        (bytes) => {
          const p = parseQuery(bytes);
          if (p.kind === "refuse") expect(p.response).to.have.length(12);
          if (p.kind !== "query") return;
          resolve(zone, p.query.name, p.query.type, random);
          const answer = response(p.query, RCODE.NXDOMAIN, []);
          expect(Buffer.from(questionOf(answer)!)).to.deep.equal(Buffer.from(p.query.question));
          expect(questionOf(upstreamQuery(p.query, 9))).to.have.length(p.query.question.length);
          expect(truncated(answer)).to.have.length(12 + p.query.question.length);
        },
      ),
      { numRuns: 3000, seed: 1 },
    );
  });

  it("reads lifetimes of damaged answers only as RangeError", () => {
    const good = encode({
      type: "response",
      id: 1,
      questions: [{ type: "A", name: "a.b" }],
      answers: [{ type: "A", name: "a.b", ttl: 9, data: "10.0.0.1" }],
      authorities: [
        {
          type: "SOA",
          name: "b",
          ttl: 3,
          data: { mname: "m", rname: "r", serial: 1, refresh: 1, retry: 1, expire: 1, minimum: 1 },
        },
      ],
    });
    expect(lifetimesOf(good).seconds).to.equal(3);
    const mutation = fc.tuple(fc.nat(good.length - 1), fc.nat(255), fc.nat(good.length));
    fc.assert(
      fc.property(mutation, ([at, value, length]) => {
        try {
          lifetimesOf(
            Buffer.from(good)
              .fill(value, at, at + 1)
              .subarray(0, Math.max(12, length)),
          );
        } catch (error) {
          expect(error).to.be.instanceOf(RangeError);
        }
      }),
      { numRuns: 2000, seed: 2 },
    );
  });
});
