import { createSocket, type Socket } from "node:dgram";
import { createServer, type Server } from "node:net";
import { expect } from "chai";
import { type Answer, decode, encode, RECURSION_DESIRED } from "dns-packet";
import type { Clock } from "#base/clock.ts";
import { AnswerCache } from "./cache.ts";
import { Forwarder } from "./forwarder.ts";
import { parseQuery } from "./packet.ts";
import { parseResolvConf, upstreamsOf } from "./resolv-conf.ts";
import { framed } from "./upstream.ts";
import { questionOf } from "./wire.ts";

/** A clock that stands still until it is moved; timers fire when it passes them. */
const manualClock = () => {
  let now = 0;
  const timers = new Set<{ at: number; callback: () => void }>();
  const clock: Clock = {
    now: () => now,
    monotonic: () => now,
    after: (ms, callback) => {
      const timer = { at: now + ms, callback };
      timers.add(timer);
      return () => timers.delete(timer);
    },
  };
  const advance = (ms: number) => {
    now += ms;
    for (const t of [...timers]) if (t.at <= now && timers.delete(t)) t.callback();
  };
  return { clock, advance, pending: () => timers.size };
};

const queryFor = (name: string, id: number) => {
  const bytes = encode({ type: "query", id, flags: RECURSION_DESIRED, questions: [{ type: "A", name }] });
  const parsed = parseQuery(bytes);
  if (parsed.kind !== "query") throw new Error("not a query");
  return parsed.query;
};

describe("forwarding to the host's resolvers", () => {
  let udp: Socket;
  let tcp: Server;
  let port: number;
  let asked: string[];
  /** What the upstream answers by UDP; undefined: it stays silent. */
  let behaviour: (
    name: string,
  ) => { answers?: Answer[]; authorities?: Answer[]; rcode?: number; tc?: boolean } | undefined;

  beforeEach(async () => {
    asked = [];
    behaviour = (name) => ({ answers: [{ type: "A", name, ttl: 60, data: "192.0.2.1" }] });
    udp = createSocket("udp4");
    udp.on("message", (m: Buffer, from) => {
      const q = decode(m);
      const name = q.questions![0]!.name;
      asked.push(name);
      const b = behaviour(name);
      if (b === undefined) return;
      const flags = (b.rcode ?? 0) | (b.tc ? 0x0200 : 0);
      udp.send(
        encode({
          type: "response",
          id: q.id!,
          flags,
          questions: q.questions!,
          answers: b.answers ?? [],
          authorities: b.authorities ?? [],
        }),
        from.port,
        from.address,
      );
    });
    await new Promise<void>((done) => udp.bind(0, "127.0.0.1", () => done()));
    port = udp.address().port;
    tcp = createServer((socket) => {
      socket.on("data", (chunk) => {
        const q = decode(chunk.subarray(2));
        const answers: Answer[] = [{ type: "A", name: q.questions![0]!.name, ttl: 60, data: "192.0.2.99" }];
        const whole = framed(encode({ type: "response", id: q.id!, questions: q.questions!, answers }));
        // In two pieces, as a network may cut it.
        socket.write(whole.subarray(0, 5));
        setImmediate(() => socket.write(whole.subarray(5)));
      });
      socket.on("error", () => {});
    });
    await new Promise<void>((done) => tcp.listen(port, "127.0.0.1", () => done()));
  });
  afterEach(async () => {
    await new Promise<void>((done) => udp.close(() => done()));
    await new Promise((done) => tcp.close(done));
  });

  const make = (clock: Clock) => new Forwarder({ upstreams: [{ address: "127.0.0.1", port }], clock, timeoutMs: 1000 });

  it("answers with the asker's id and spelling, caches by TTL and counts it down", async () => {
    const { clock, advance } = manualClock();
    const forwarder = make(clock);
    const first = decode(await forwarder.ask(pair("Example.org", 1)));
    expect(first).to.deep.include({ id: 1 });
    advance(20_000);
    const second = decode(await forwarder.ask(pair("eXample.ORG", 2)));
    expect(second.id).to.equal(2);
    expect(second.questions![0]!.name).to.equal("eXample.ORG");
    expect(second.answers![0]).to.deep.include({ ttl: 40, data: "192.0.2.1" });
    expect(asked).to.have.length(1);
    advance(41_000);
    await forwarder.ask(pair("example.org", 3));
    expect(asked).to.have.length(2);
    forwarder.close();
  });
  const pair = (name: string, id: number) => queryFor(name, id);

  it("caches name errors as long as the SOA says, and failures not at all", async () => {
    const { clock, advance } = manualClock();
    const forwarder = make(clock);
    const soa: Answer = {
      type: "SOA",
      name: "org",
      ttl: 900,
      data: { mname: "a", rname: "b", serial: 1, refresh: 1, retry: 1, expire: 1, minimum: 30 },
    };
    behaviour = () => ({ rcode: 3, authorities: [soa] });
    await forwarder.ask(pair("no.org", 1));
    advance(29_000);
    expect(decode(await forwarder.ask(pair("no.org", 2)))).to.have.property("rcode", "NXDOMAIN");
    expect(asked).to.have.length(1);
    advance(2_000);
    await forwarder.ask(pair("no.org", 3));
    expect(asked).to.have.length(2);
    behaviour = () => ({ rcode: 2 });
    asked = [];
    for (const id of [4, 5])
      expect(decode(await forwarder.ask(pair("broken.org", id)))).to.have.property("rcode", "SERVFAIL");
    expect(asked).to.have.length(2);
    forwarder.close();
  });

  it("goes to TCP when the answer was cut", async () => {
    behaviour = () => ({ tc: true });
    const forwarder = make(manualClock().clock);
    expect(decode(await forwarder.ask(pair("big.org", 1))).answers![0]).to.include({ data: "192.0.2.99" });
    forwarder.close();
  });

  it("asks once for the same question, tries again after a silence, and gives up with SERVFAIL", async () => {
    const { clock, advance, pending } = manualClock();
    behaviour = () => undefined;
    const forwarder = make(clock);
    const answers = [forwarder.ask(pair("slow.org", 1)), forwarder.ask(pair("slow.org", 2))];
    expect(forwarder.inFlight).to.equal(1);
    for (let round = 1; round <= 2; round++) {
      while (asked.length < round) await new Promise(setImmediate);
      advance(1000);
    }
    const decoded = (await Promise.all(answers)).map((a) => decode(a) as unknown as { id: number; rcode: string });
    expect(decoded.map((d) => [d.id, d.rcode])).to.deep.equal([
      [1, "SERVFAIL"],
      [2, "SERVFAIL"],
    ]);
    expect([asked.length, forwarder.inFlight, pending()]).to.deep.equal([2, 0, 0]);
    forwarder.close();
  });

  it("keeps no more than 1024 questions in flight", async () => {
    const { clock } = manualClock();
    behaviour = () => undefined;
    const forwarder = make(clock);
    const waiting = Array.from({ length: 1024 }, (_, i) => forwarder.ask(pair(`n${i}.org`, i)));
    expect(decode(await forwarder.ask(pair("one-more.org", 1)))).to.have.property("rcode", "SERVFAIL");
    expect(forwarder.inFlight).to.equal(1024);
    forwarder.close();
    await Promise.all(waiting);
    expect(forwarder.inFlight).to.equal(0);
  });

  it("passes over a resolver whose socket can't even be connected, and over one that nobody listens at", async () => {
    const vacant = createSocket("udp4");
    await new Promise<void>((done) => vacant.bind(0, "127.0.0.1", () => done()));
    const vacantPort = vacant.address().port;
    await new Promise<void>((done) => vacant.close(() => done()));
    // connect(2) to the broadcast address fails with EACCES whatever the routes are.
    const upstreams = [
      { address: "255.255.255.255", port: 53 },
      { address: "127.0.0.1", port: vacantPort },
      { address: "127.0.0.1", port },
    ];
    // The clock stands still: only failures, not timeouts, lead on.
    const forwarder = new Forwarder({ upstreams, clock: manualClock().clock, timeoutMs: 1000 });
    for (const name of ["a.org", "b.org"])
      expect(decode(await forwarder.ask(pair(name, 1))).answers![0]).to.include({ data: "192.0.2.1" });
    forwarder.close();
  });

  it("asks a resolver that was silent last, until it had time to recover", async () => {
    const { clock, advance } = manualClock();
    const silent = createSocket("udp4");
    let heard = 0;
    silent.on("message", () => heard++);
    await new Promise<void>((done) => silent.bind(0, "127.0.0.1", () => done()));
    const upstreams = [silent.address().port, port].map((p) => ({ address: "127.0.0.1", port: p }));
    const forwarder = new Forwarder({ upstreams, clock, timeoutMs: 1000 });
    const first = forwarder.ask(pair("a.org", 1));
    while (heard === 0) await new Promise(setImmediate);
    advance(1000);
    expect(decode(await first).answers).to.have.length(1);
    // The clock stands still: an answer can only come from the other one.
    for (let i = 0; i < 20; i++) await forwarder.ask(pair(`b${i}.org`, 1));
    expect(heard).to.equal(1);
    advance(10_001);
    const later = forwarder.ask(pair("c.org", 1));
    while (heard === 1) await new Promise(setImmediate);
    advance(1000);
    await later;
    forwarder.close();
    await new Promise<void>((done) => silent.close(() => done()));
  });

  it("tells apart what was asked with and without EDNS, DNSSEC and checking", async () => {
    const forwarder = make(manualClock().clock);
    const plain = pair("a.org", 1);
    const queries = [
      plain,
      { ...plain, edns: true },
      { ...plain, edns: true, dnssecOk: true },
      { ...plain, flags: 0x10 },
    ];
    for (const query of [...queries, ...queries]) await forwarder.ask(query);
    expect(asked).to.have.length(queries.length);
    forwarder.close();
  });

  it("its cache is bounded by bytes, the longest unused goes first", () => {
    const cache = new AnswerCache();
    const answer = (name: string) =>
      encode({
        type: "response",
        questions: [{ type: "TXT", name }],
        answers: [{ type: "TXT", name, ttl: 60, data: ["x".repeat(255), "y".repeat(255)] }],
      });
    const question = questionOf(answer("n0"))!;
    for (let i = 0; i < 5_000; i++) {
      cache.store(`n${i}`, answer(`n${i}`), 0);
      cache.find("n0", 1, question, 0);
    }
    expect(cache.bytes).to.be.within(1_900_000, 2 * 1024 * 1024);
    expect(cache.find("n0", 1, question, 0)).to.not.equal(undefined);
    expect(cache.find("n1", 1, question, 0)).to.equal(undefined);
    expect(cache.find("n4999", 1, question, 61_000)).to.equal(undefined);
  });

  it("reads resolv.conf", () => {
    const text =
      "# x\ndomain c\nsearch a b .\nnameserver 192.0.2.1\n nameserver fd00::1 \nnameserver nonsense\noptions edns0\noptions ndots:2 rotate\n";
    const read = parseResolvConf(text);
    expect(read).to.deep.equal({
      nameservers: ["192.0.2.1", "fd00::1"],
      search: ["a", "b"],
      options: ["edns0", "ndots:2", "rotate"],
    });
    expect(upstreamsOf(read)[1]).to.deep.equal({ address: "fd00::1", port: 53 });
  });
});
