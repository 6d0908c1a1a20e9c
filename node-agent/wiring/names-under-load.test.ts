import { expect } from "chai";
import { realClock, systemRandom } from "#base/node/system.ts";
import { flood } from "#net/dns/flood.ts";
import { Forwarder } from "#net/dns/forwarder.ts";
import { Rtnl } from "#net/kernel/rtnl.ts";
import { type ScratchNetns, scratchNetns } from "#net/kernel/scratch-netns.ts";
import { emptyView } from "#node-agent/session/view.ts";
import { createNames, type Names } from "#node-agent/wiring/names.ts";
import { ServiceEndpoint } from "#proto/gen/dispatcher.ts";
import { Task } from "#proto/gen/types.ts";

describe("names of a container under load", () => {
  let ns: ScratchNetns;
  let forwarder: Forwarder;
  let names: Names;

  before(async () => {
    ns = scratchNetns();
    const rtnl = Rtnl.open(ns.path);
    rtnl.linkSet("lo", { up: true });
    rtnl.close();
    forwarder = new Forwarder({ upstreams: [], clock: realClock, timeoutMs: 100 });
    const web = ServiceEndpoint.fromPartial({ networkId: "n", serviceId: "s", name: "web", vip4: "10.0.0.2" });
    const view = { ...emptyView, services: new Map([["s", web]]) };
    names = createNames({ netnsPath: () => ns.path, forwarder, random: systemRandom, view });
    await names.serve(Task.fromPartial({ id: "t", attachments: [{ networkId: "n" }] }));
  });
  after(async () => {
    await names?.stopAll();
    forwarder?.close();
    ns?.remove();
  });

  /** Datagrams that found no room, of all UDP sockets there: the last column of /proc/net/udp. */
  const dropped = () =>
    ns
      .exec("cat", "/proc/net/udp")
      .trim()
      .split("\n")
      .slice(1)
      .reduce((sum, line) => sum + Number(line.trim().split(/\s+/).at(-1)), 0);

  for (const [clients, inFlight] of [
    [1, 2_000],
    [100, 20],
  ] as const)
    it(`loses none of 50,000 questions of ${clients} ${clients === 1 ? "client" : "clients"}`, async () => {
      const questions = 50_000;
      const { answered } = await flood({
        ...{ netnsPath: ns.path, server: "127.0.0.11", name: "web" },
        ...{ questions, clients, inFlight },
      });
      expect({ answered, dropped: dropped() }).to.deep.equal({ answered: questions, dropped: 0 });
    });
});
