import { execFile } from "node:child_process";
import { createSocket, type Socket } from "node:dgram";
import { createServer, type Server } from "node:net";
import { promisify } from "node:util";
import { expect } from "chai";
import { decode, encode } from "dns-packet";
import { realClock, systemRandom } from "#base/node/system.ts";
import { Forwarder } from "#net/dns/forwarder.ts";
import { framed } from "#net/dns/upstream.ts";
import { Rtnl } from "#net/kernel/rtnl.ts";
import { type ScratchNetns, scratchNetns } from "#net/kernel/scratch-netns.ts";
import { tcpListenerIn, udpSocketIn } from "#net/kernel/sockets.ts";
import { emptyView } from "#node-agent/session/view.ts";
import { createNames, type Names } from "#node-agent/wiring/names.ts";
import { Network, Task } from "#proto/gen/types.ts";

const task = Task.fromPartial({ id: "t", attachments: [{ networkId: "n" }] });

describe("names of a container", () => {
  let ns: ScratchNetns;
  let forwarder: Forwarder;
  let names: Names;

  beforeEach(() => {
    ns = scratchNetns();
    const rtnl = Rtnl.open(ns.path);
    rtnl.linkSet("lo", { up: true });
    rtnl.close();
    forwarder = new Forwarder({ upstreams: [], clock: realClock, timeoutMs: 100 });
    names = createNames({ netnsPath: () => ns.path, forwarder, random: systemRandom, view: emptyView });
  });
  afterEach(async () => {
    await names.stopAll();
    forwarder.close();
    ns.remove();
  });

  it("are served once, by whoever asks first", async () => {
    await Promise.all([names.serve(task), names.serve(task)]);
    await names.serve(task);
  });

  it("go with their task, also while they start: the address is free again", async () => {
    const started = names.serve(task);
    await names.stop(task.id);
    await started;
    names.update({ ...emptyView, networks: new Map() });
    await names.serve(task);
    await names.stop(task.id);
    await names.serve(task);
  });

  it("can be asked for again after a failure", async () => {
    const other = scratchNetns();
    let path = `${other.path}-not-there`;
    const late = createNames({ netnsPath: () => path, forwarder, random: systemRandom, view: emptyView });
    const error = await late.serve(task).then(
      () => undefined,
      (e: Error) => e,
    );
    expect(error?.message).to.match(/ENOENT/);
    await late.stop(task.id);
    path = other.path;
    await late.serve(task);
    await late.stopAll();
    other.remove();
  });

  describe("with resolvers of its own", () => {
    let resolver: { udp: Socket; tcp: Server };
    let ask: (name: string) => Promise<string>;

    beforeEach(async () => {
      const udp = createSocket("udp4");
      udp.on("message", (m: Buffer, from) => {
        const { id, questions } = decode(m);
        const { name } = questions![0]!;
        // What starts with "big" is for TCP.
        const flags = name.startsWith("big") ? 0x0200 : 0;
        const answers = [{ type: "A", name, ttl: 60, data: "192.0.2.1" } as const];
        udp.send(encode({ type: "response", id: id!, flags, questions: questions!, answers }), from.port, from.address);
      });
      const tcp = createServer((socket) => {
        socket.on("data", (chunk) => {
          const { id, questions } = decode(chunk.subarray(2));
          const answers = [{ type: "A", name: questions![0]!.name, ttl: 60, data: "192.0.2.2" } as const];
          socket.write(framed(encode({ type: "response", id: id!, questions: questions!, answers })));
        });
        socket.on("error", () => {});
      });
      await new Promise<void>((done) => udp.bind({ fd: udpSocketIn(ns.path, "127.0.0.1", 53) }, () => done()));
      await new Promise<void>((done) => tcp.listen({ fd: tcpListenerIn(ns.path, "127.0.0.1", 53) }, () => done()));
      resolver = { udp, tcp };
      ask = async (name) => {
        const dig = ["dig", "@127.0.0.11", "+tries=1", "+time=5", name];
        const { stdout } = await promisify(execFile)("ip", ["netns", "exec", ns.name, ...dig]);
        const address = /\d\s+IN\s+A\s+(\S+)/.exec(stdout)?.[1];
        return address ?? /status: (\w+)/.exec(stdout)![1]!;
      };
    });
    afterEach(async () => {
      await new Promise<void>((done) => resolver.udp.close(() => done()));
      await new Promise((done) => resolver.tcp.close(done));
    });

    const internal = {
      ...emptyView,
      networks: new Map([["n", Network.fromPartial({ id: "n", spec: { internal: true } })]]),
    };
    const taskWith = (container: { dns?: string[]; dnsOptions?: string[] }) =>
      Task.fromPartial({ ...task, spec: { container } });

    it("asks them from the container, by UDP and TCP, also when its networks are internal", async () => {
      names.update(internal);
      await names.serve(taskWith({ dns: ["127.0.0.1"] }));
      expect(await ask("example.test")).to.equal("192.0.2.1");
      expect(await ask("big.example.test")).to.equal("192.0.2.2");
    });

    it("without them asks the host's, and from internal networks nobody", async () => {
      await names.serve(taskWith({}));
      // The host has none here.
      expect(await ask("example.test")).to.equal("SERVFAIL");
      names.update(internal);
      expect(await ask("example.test")).to.equal("NXDOMAIN");
    });

    it("asks names without a dot outside, unless ndots makes the asker search", async () => {
      await names.serve(taskWith({ dns: ["127.0.0.1"] }));
      expect(await ask("intranet")).to.equal("192.0.2.1");
      await names.stop(task.id);
      await names.serve(taskWith({ dns: ["127.0.0.1"], dnsOptions: ["ndots:1"] }));
      expect(await ask("intranet")).to.equal("NXDOMAIN");
      expect(await ask("example.test")).to.equal("192.0.2.1");
    });
  });
});
