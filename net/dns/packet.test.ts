import { expect } from "chai";
import { decode, encode } from "dns-packet";
import fc from "fast-check";
import { seededRandom } from "#base/random.ts";
import { parseQuery, RCODE, response, upstreamQuery } from "./packet.ts";
import { fitted, lifetimesOf, questionOf } from "./wire.ts";
import { resolve } from "./zone.ts";

const parsed = (bytes: Buffer) => {
  const p = parseQuery(bytes);
  if (p.kind !== "query") throw new Error(p.kind);
  return p.query;
};

describe("DNS messages", () => {
  it("answers what dns-packet reads", () => {
    const query = parsed(encode({ type: "query", id: 77, questions: [{ type: "AAAA", name: "Web.Front" }] }));
    expect(query).to.include({ name: "web.front", type: "AAAA", edns: false, udpBytes: 512 });
    const answers = [
      { type: "A", data: "10.0.0.2" },
      { type: "AAAA", data: "fd00::1:2" },
      { type: "PTR", data: "web.1.abc.front" },
      { type: "SRV", port: 8080, data: "web.front" },
    ] as const;
    const additionals = [{ name: "web.front", type: "A", data: "10.0.0.2" }] as const;
    const answer = decode(response(query, RCODE.NOERROR, { answers, additionals, own: true }));
    expect(answer).to.include({
      id: 77,
      flag_qr: true,
      flag_aa: true,
      flag_ra: true,
      flag_rd: false,
      rcode: "NOERROR",
    });
    expect(answer.answers!.map((a) => ("data" in a ? [a.name, a.type, a.data] : []))).to.deep.equal([
      ["Web.Front", "A", "10.0.0.2"],
      ["Web.Front", "AAAA", "fd00::1:2"],
      ["Web.Front", "PTR", "web.1.abc.front"],
      ["Web.Front", "SRV", { priority: 0, weight: 0, port: 8080, target: "web.front" }],
    ]);
    expect(answer.additionals).to.deep.include({
      name: "web.front",
      type: "A",
      ttl: 5,
      class: "IN",
      flush: false,
      data: "10.0.0.2",
    });
  });

  it("says for how long there is nothing, and under which zone", () => {
    for (const [name, apex] of [
      ["web.Front", "Front"],
      ["web", "web"],
      [".", "."],
    ] as const) {
      const query = parsed(encode({ type: "query", id: 1, questions: [{ type: "AAAA", name }] }));
      const [soa] = decode(response(query, RCODE.NXDOMAIN, { own: true })).authorities!;
      expect(soa).to.deep.include({ name: apex, type: "SOA", ttl: 1 });
      expect(soa).to.have.nested.property("data.minimum", 1);
    }
  });

  it("takes a dot inside a label for no separator", () => {
    const label = Buffer.from("a.b\\");
    const bytes = Buffer.concat([
      Buffer.from([0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 5]),
      label,
      Buffer.of(0, 0, 0, 1, 0, 1),
    ]);
    expect(parsed(bytes).name).to.equal("a\\046b\\092\\000");
  });

  it("refuses EDNS of a later version, several EDNS records, and names that are too long", () => {
    const opt = (version: number) => Buffer.of(0, 0, 41, 4, 208, 0, version, 0, 0, 0, 0);
    const asked = encode({ type: "query", id: 1, questions: [{ type: "A", name: "web" }] });
    const withOpts = (...opts: Buffer[]) => {
      const bytes = Buffer.concat([asked, ...opts]);
      bytes[11] = opts.length;
      return parseQuery(bytes);
    };
    expect(withOpts(opt(0)).kind).to.equal("query");
    const later = withOpts(opt(1));
    if (later.kind !== "refuse") throw new Error(later.kind);
    expect(later.response[3]! & 15).to.equal(0);
    expect(decode(later.response).additionals![0]).to.include({ extendedRcode: 1 });
    const twice = withOpts(opt(0), opt(0));
    expect(twice.kind === "refuse" && twice.response[3]! & 15).to.equal(RCODE.FORMERR);
    const long = Buffer.concat([
      asked.subarray(0, 12),
      ...new Array(4).fill(Buffer.concat([Buffer.of(63), Buffer.alloc(63, "a")])),
      Buffer.of(0, 0, 1, 0, 1),
    ]);
    expect(parseQuery(long).kind).to.equal("refuse");
  });

  it("cuts to whole records, says so only when an answer had to go, and keeps EDNS", () => {
    const query = { ...parsed(encode({ type: "query", id: 1, questions: [{ type: "A", name: "web" }] })), edns: true };
    const answers = Array.from({ length: 100 }, (_, i) => ({ type: "A", data: `10.0.0.${i}` }) as const);
    const additionals = [{ name: "web.front", type: "A", data: "10.0.0.2" }] as const;
    const short = decode(fitted(response(query, 0, { answers, own: true }), 512));
    expect(short.flag_tc).to.equal(true);
    expect(short.answers).to.have.length(Math.floor((512 - 12 - 9 - 11) / 16));
    expect(short.additionals).to.have.length(1);
    const few = response(query, 0, { answers: answers.slice(0, 2), additionals, own: true });
    const whole = decode(fitted(few, few.length - 1));
    expect([whole.flag_tc, whole.answers!.length, whole.additionals!.length]).to.deep.equal([false, 2, 1]);
    expect(fitted(few, few.length)).to.equal(few);
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
    const zone = { stack: "", networks: [] };
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
          if (p.kind === "refuse") expect(p.response[2]! & 0x80).to.equal(0x80);
          if (p.kind !== "query") return;
          resolve(zone, p.query.name, p.query.type, random);
          const answer = response(p.query, RCODE.NXDOMAIN, { own: true });
          decode(answer);
          expect(Buffer.from(questionOf(answer)!)).to.deep.equal(Buffer.from(p.query.question));
          expect(questionOf(upstreamQuery(p.query, 9))).to.have.length(p.query.question.length);
          const short = fitted(answer, 12 + p.query.question.length);
          expect(short).to.have.length(12 + p.query.question.length + (p.query.edns ? 11 : 0));
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
    // The SOA's minimum: an alias that leads to nothing looks like this.
    expect(lifetimesOf(good).seconds).to.equal(1);
    const mutation = fc.tuple(fc.nat(good.length - 1), fc.nat(255), fc.nat(good.length));
    fc.assert(
      fc.property(mutation, ([at, value, length]) => {
        const damaged = Buffer.from(good)
          .fill(value, at, at + 1)
          .subarray(0, Math.max(12, length));
        fitted(damaged, 20);
        try {
          lifetimesOf(damaged);
        } catch (error) {
          expect(error).to.be.instanceOf(RangeError);
        }
      }),
      { numRuns: 2000, seed: 2 },
    );
  });
});
