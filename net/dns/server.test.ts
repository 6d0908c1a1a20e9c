import { execFile } from "node:child_process";
import { createSocket, type Socket } from "node:dgram";
import { Socket as TcpSocket } from "node:net";
import { promisify } from "node:util";
import { expect } from "chai";
import { decode, encode } from "dns-packet";
import { realClock, systemRandom } from "#base/node/system.ts";
import { Rtnl } from "#net/kernel/rtnl.ts";
import { type ScratchNetns, scratchNetns } from "#net/kernel/scratch-netns.ts";
import { tcpListenerIn, tcpSocketIn, udpSocketIn } from "#net/kernel/sockets.ts";
import { Forwarder } from "./forwarder.ts";
import { NetworkNames } from "./network-names.ts";
import { DnsServer, MAX_FORWARDED } from "./server.ts";
import { framed } from "./upstream.ts";
import type { Zone } from "./zone.ts";

const run = promisify(execFile);

const zoneOf = (internal: boolean, replicas: number): Zone => {
  const names = new NetworkNames();
  const backends = Array.from({ length: replicas }, (_, i) => ({
    slot: String(i + 1),
    name: "",
    ipv4: `10.0.1.${i + 1}`,
    ipv6: `fd00::1:${(i + 1).toString(16)}`,
    taskId: "",
  }));
  const ports = [{ name: "http", protocol: "tcp", port: 80 }] as const;
  names.update([
    { name: "web", stack: "", aliases: [], mode: "vip", vip4: "10.0.0.2", vip6: "fd00::2", backends, ports },
  ]);
  return { stack: "", networks: [{ name: "front", suffixes: ["front"], internal, subnets: [], names }] };
};

// The upstream runs on this process's own loopback; nothing outside is asked.
describe("DNS at 127.0.0.11 of a namespace, observed by dig", () => {
  let ns: ScratchNetns;
  let server: DnsServer;
  let forwarder: Forwarder;
  let upstream: Socket;

  before(async () => {
    ns = scratchNetns();
    const rtnl = Rtnl.open(ns.path);
    rtnl.linkSet("lo", { up: true });
    rtnl.close();
    upstream = createSocket("udp4");
    upstream.on("message", (m: Buffer, from) => {
      const q = decode(m);
      const { name, type } = q.questions![0]!;
      const answers =
        name === "example.test" && type === "A" ? [{ type: "A" as const, name, ttl: 77, data: "192.0.2.7" }] : [];
      const flags = answers.length > 0 || name.endsWith("example.test") ? 0 : 3;
      upstream.send(
        encode({ type: "response", id: q.id!, flags, questions: q.questions!, answers }),
        from.port,
        from.address,
      );
    });
    await new Promise<void>((done) => upstream.bind(0, "127.0.0.1", () => done()));
    forwarder = new Forwarder({
      upstreams: [{ address: "127.0.0.1", port: upstream.address().port }],
      clock: realClock,
      timeoutMs: 2000,
    });
    server = await DnsServer.start({
      udpFd: udpSocketIn(ns.path, "127.0.0.11", 53),
      tcpFd: tcpListenerIn(ns.path, "127.0.0.11", 53),
      zone: zoneOf(false, 3),
      outside: { forwarder, always: false, singleLabels: true },
      random: systemRandom,
    });
  });
  after(async () => {
    await server?.close();
    forwarder?.close();
    upstream?.close();
    ns?.remove();
  });

  const dig = async (...args: string[]) => {
    const { stdout } = await run("ip", [
      "netns",
      "exec",
      ns.name,
      "dig",
      "@127.0.0.11",
      "+time=5",
      "+tries=1",
      ...args,
    ]);
    return {
      status: /status: (\w+)/.exec(stdout)?.[1],
      flags: /flags: ([^;]*)/.exec(stdout)?.[1]?.split(" "),
      answers: stdout
        .split("\n")
        .filter((l) => /^[^;\s]\S*\s+\d+\s+IN\s+(?!SOA)/.test(l))
        .map((l) => l.split(/\s+/))
        .map((f) => `${f[3]} ${f[4]} ${f[1]}`)
        .sort(),
      text: stdout,
    };
  };

  it("answers A, AAAA, PTR, tasks and slots with TTL 5", async () => {
    expect(await dig("web", "A")).to.deep.include({ status: "NOERROR", answers: ["A 10.0.0.2 5"] });
    expect(await dig("web.front", "AAAA")).to.deep.include({ status: "NOERROR", answers: ["AAAA fd00::2 5"] });
    expect(await dig("-x", "10.0.0.2")).to.deep.include({ status: "NOERROR", answers: ["PTR web.front. 5"] });
    expect(await dig("-x", "fd00::1:2")).to.deep.include({ answers: ["PTR web.2.front. 5"] });
    expect((await dig("tasks.web")).answers).to.deep.equal(["A 10.0.1.1 5", "A 10.0.1.2 5", "A 10.0.1.3 5"]);
    expect(await dig("2.web", "+noedns")).to.deep.include({ answers: ["A 10.0.1.2 5"] });
    const { flags } = await dig("web");
    expect(flags).to.include.members(["qr", "aa", "rd", "ra"]);
  });

  it("gives an empty answer for a known name without the type, also for types it does not know", async () => {
    for (const type of ["MX", "TYPE65", "TXT", "SRV", "HTTPS"])
      expect(await dig("web", type)).to.deep.include({ status: "NOERROR", answers: [] });
    expect((await dig("web.front", "MX")).text).to.match(/^front\.\s+1\s+IN\s+SOA\s/m);
  });

  it("gives services with their addresses", async () => {
    const { answers, text } = await dig("_http._tcp.web", "SRV");
    expect(answers).to.deep.equal(["A 10.0.0.2 5", "AAAA fd00::2 5", "SRV 0 5"]);
    expect(text).to.match(/SRV\s+0 0 80 web\.front\.$/m);
  });

  it("speaks TCP, several questions on one connection", async () => {
    expect(await dig("+tcp", "+keepopen", "web", "A", "tasks.web", "AAAA")).to.deep.include({
      answers: ["A 10.0.0.2 5", "AAAA fd00::1:1 5", "AAAA fd00::1:2 5", "AAAA fd00::1:3 5"],
    });
  });

  it("forwards everything else from the host's namespace", async () => {
    expect(await dig("example.test")).to.deep.include({ status: "NOERROR", answers: ["A 192.0.2.7 77"] });
    expect(await dig("nothing.test")).to.deep.include({ status: "NXDOMAIN", answers: [] });
    expect(await dig("+tcp", "example.test", "AAAA")).to.deep.include({ status: "NOERROR", answers: [] });
  });

  it("swaps the zone, cuts long UDP answers for TCP, and forwards nothing for internal networks", async () => {
    server.update(zoneOf(true, 100));
    expect((await dig("+ignore", "+noedns", "tasks.web")).flags).to.include("tc");
    expect((await dig("+noedns", "tasks.web")).answers).to.have.length(100);
    expect(await dig("example.test")).to.deep.include({ status: "NXDOMAIN", answers: [] });
    server.update(zoneOf(false, 1));
    expect((await dig("tasks.web")).answers).to.have.length(1);
  });

  it("survives damaged packets", async () => {
    const inside = createSocket("udp4");
    await new Promise<void>((done) => inside.bind({ fd: udpSocketIn(ns.path, "127.0.0.1", 0) }, () => done()));
    const replies: number[] = [];
    inside.on("message", (m: Buffer) => replies.push(m[3]! & 15));
    const header = [0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    const damaged = [
      [],
      header.slice(0, 11),
      [...header, 63, 97, 98],
      [...header, 0xc0, 12, 0, 1, 0, 1],
      new Array(600).fill(0xff),
    ];
    for (const bytes of damaged) inside.send(Buffer.from(bytes), 53, "127.0.0.11");
    expect((await dig("web")).answers).to.deep.equal(["A 10.0.0.2 5"]);
    inside.close();
    expect(new Set(replies)).to.deep.equal(new Set([1]));
    expect((await dig("-c", "CH", "version.bind", "TXT")).status).to.equal("REFUSED");
    expect((await dig("+opcode=NOTIFY", "web")).status).to.equal("NOTIMP");
  });

  it("forwards a bounded number of questions for one container; its own names are answered all the same", async () => {
    const silent = createSocket("udp4");
    await new Promise<void>((done) => silent.bind(0, "127.0.0.1", () => done()));
    const upstreams = [{ address: "127.0.0.1", port: silent.address().port }];
    const waiting = new Forwarder({ upstreams, clock: realClock, timeoutMs: 60_000 });
    const busy = await DnsServer.start({
      udpFd: udpSocketIn(ns.path, "127.0.0.12", 53),
      tcpFd: tcpListenerIn(ns.path, "127.0.0.12", 53),
      zone: zoneOf(false, 1),
      outside: { forwarder: waiting, always: false, singleLabels: true },
      random: systemRandom,
    });
    const inside = createSocket("udp4");
    await new Promise<void>((done) => inside.bind({ fd: udpSocketIn(ns.path, "127.0.0.1", 0) }, () => done()));
    const codes: number[] = [];
    const two = new Promise<void>((done) => {
      inside.on("message", (m: Buffer) => codes.push(m[3]! & 15) === 2 && done());
    });
    const names = [...Array.from({ length: MAX_FORWARDED + 1 }, (_, i) => `n${i}.example.test`), "web"];
    for (const [id, name] of names.entries()) {
      inside.send(encode({ type: "query", id, questions: [{ type: "A", name }] }), 53, "127.0.0.12");
      // One socket's room for what is not read yet is small.
      if (id % 50 === 49) await new Promise((done) => setTimeout(done, 5));
    }
    await two;
    expect([codes, waiting.inFlight]).to.deep.equal([[2, 0], MAX_FORWARDED]);
    inside.close();
    await busy.close();
    waiting.close();
    silent.close();
  });

  it("answers all questions of one who sends many by TCP before it reads", async () => {
    const socket = new TcpSocket({ fd: tcpSocketIn(ns.path, "127.0.0.1") });
    await new Promise<void>((done) => socket.connect({ host: "127.0.0.11", port: 53 }, () => done()));
    socket.pause();
    server.update(zoneOf(false, 200));
    const asks = Buffer.concat(
      Array.from({ length: 100 }, () =>
        framed(encode({ type: "query", questions: [{ type: "A", name: "tasks.web" }] })),
      ),
    );
    // Each of these 1,000 answers has 3 KB: they can't all be on their way.
    for (let i = 0; i < 10; i++) socket.write(asks);
    await dig("web");
    let received = 0;
    const all = new Promise<void>((done) => {
      socket.on("data", (chunk) => {
        received += chunk.length;
        if (received >= 1_000 * (2 + 12 + 15 + 200 * 16)) done();
      });
    });
    socket.resume();
    await all;
    socket.destroy();
  });
});
