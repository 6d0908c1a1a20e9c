// Backends that come and go, in the kernel: whatever the way there, a table is what its full text would make, but for the
// numbers of the backends; and who is connected notices nothing.

import type { ChildProcess, ChildProcessWithoutNullStreams } from "node:child_process";
import { once } from "node:events";
import { expect } from "chai";
import { seededRandom } from "#base/random.ts";
import { Reconciler } from "#net/exec/reconciler.ts";
import { type ScratchHost, scratchHost } from "#net/exec/testing/scratch-host.ts";
import { runNft } from "#net/kernel/nft.ts";
import { scratchNetns } from "#net/kernel/scratch-netns.ts";
import type { HostNetworks, PublishedPort } from "#net/model/host-networks.ts";
import { renderDifference } from "#net/plan/differences.ts";
import { planHost } from "#net/plan/plan-host.ts";
import {
  attach,
  bridgeNetwork,
  container,
  emptyHost,
  host,
  overlayNetwork,
  remote,
  virtualService,
} from "#net/plan/testdata.ts";

const SEED = Number(process.env.SEED ?? Math.trunc(Date.now() / 1000) % 1_000_000);
const ROUNDS = Number(process.env.ROUNDS ?? 20);

const app = overlayNetwork(1);
const own = bridgeNetwork(1);
const NUMBERS = [2, 3, 20, 21, 22, 23, 24, 25, 26];

const port = (protocol: "tcp" | "udp", number: number, backends: readonly number[], hostIp = ""): PublishedPort => ({
  protocol,
  port: number,
  hostIp,
  target: 80,
  backends: backends.map((n) => ({ ipv4: `172.20.1.${n}`, ipv6: n % 2 === 0 ? `fd00:20::${n}` : "" })),
});

const wanted = (one: readonly number[], two: readonly number[], extra: Partial<HostNetworks> = {}): HostNetworks =>
  host({
    networks: [{ ...app, services: [virtualService(app, "one", 100, one), virtualService(app, "two", 101, two)] }, own],
    containers: [container("a", attach(app, 2), attach(own, 2, "eth1")), container("b", attach(app, 3))],
    remotes: NUMBERS.filter((n) => n > 3).map((n) => remote(app, n)),
    published: [port("tcp", 8080, one), port("udp", 53, two), port("tcp", 8081, two, "192.0.2.1")],
    ...extra,
  });

type Shown = { readonly nftables: readonly Record<string, { elem?: [number, string][]; handle?: number }>[] };

/** As nft shows a table: without handles, and the backends of each map in order, once their numbers are the first ones. */
const shown = (json: string): unknown[] =>
  (JSON.parse(json) as Shown).nftables
    .filter((object) => !("metainfo" in object))
    .map((object) => {
      const [[kind, { handle: _, ...content }]] = Object.entries(object) as [
        [string, { handle?: number; elem?: [number, string][] }],
      ];
      if (kind !== "map") return { [kind]: content };
      const elements = (content.elem ?? []).toSorted(([a], [b]) => a - b);
      expect(elements.map(([slot]) => slot)).to.deep.equal([...elements.keys()]);
      return { map: { ...content, elem: elements.map(([, backend]) => backend).toSorted() } };
    });

const LIST = ["nft", "-j", "list", "table", "inet", "tswarm"] as const;

describe("backends that come and go", function () {
  this.timeout(60_000);
  let scratch: ScratchHost;
  let reconciler: Reconciler;
  const children: ChildProcess[] = [];

  beforeEach(() => {
    scratch = scratchHost();
    const { exec } = scratch.netns;
    exec("ip", "link", "add", "dev", "uplink", "type", "veth", "peer", "name", "far");
    for (const link of ["uplink", "far", "lo"]) exec("ip", "link", "set", "dev", link, "up");
    exec("ip", "addr", "add", "192.0.2.1/24", "dev", "uplink");
    reconciler = new Reconciler(scratch.place);
  });
  afterEach(() => {
    for (const child of children.splice(0)) child.kill();
    reconciler.teardown();
    scratch.remove();
  });

  const apply = (desired: HostNetworks): number => {
    const { errors, ops } = reconciler.apply(desired);
    expect(errors).to.deep.equal([]);
    return ops;
  };
  const table = (ns: string): unknown[] => shown(ns === "" ? scratch.netns.exec(...LIST) : scratch.inside(ns, ...LIST));
  const differences = (desired: HostNetworks): string[] =>
    new Reconciler(scratch.place).inspect(desired).differences.map(renderDifference);

  it(`a table is what its text makes, whatever the way there (SEED=${SEED})`, () => {
    const random = seededRandom(SEED);
    const some = (): number[] => {
      const chance = random.int(4);
      return NUMBERS.filter(() => random.int(3) < chance);
    };
    apply(wanted([], []));
    for (let round = 0; round < ROUNDS; round++) {
      const desired = wanted(some(), some());
      apply(desired);
      const after = `seed ${SEED}, round ${round}`;
      for (const op of planHost(desired, emptyHost())) {
        if (op.op !== "nft-set" || op.ns === "o-4097") continue;
        const fresh = scratchNetns();
        try {
          runNft(fresh.path, op.ruleset);
          expect(table(op.ns), after).to.deep.equal(shown(fresh.exec(...LIST)));
        } finally {
          fresh.remove();
        }
      }
      if (round % 10 === 0) expect(differences(desired), after).to.deep.equal([]);
    }
  });

  it("writes only the backends, of a service that gets its first one too", () => {
    apply(wanted([], [2]));
    scratch.inside("c-b", "nft", "add", "counter", "inet", "tswarm", "witness");
    for (const backends of [[20], [20, 21, 22], [22], []]) expect(apply(wanted(backends, [2]))).to.equal(3);
    expect(scratch.inside("c-b", "nft", "list", "counters")).to.contain("witness");
  });

  it("says which backends differ", () => {
    apply(wanted([2, 20], []));
    const nft = (text: string) => scratch.inside("c-b", "nft", text);
    nft("delete element inet tswarm vip_10_1_0_100 { 1 }; add element inet tswarm vip_10_1_0_100 { 1 : 10.1.0.66 }");
    expect(differences(wanted([2, 20], []))).to.deep.equal([
      "c-b: nftables backends in table inet tswarm: 10.1.0.66 in vip_10_1_0_100 instead of 10.1.0.20 in vip_10_1_0_100",
    ]);
    nft("delete element inet tswarm vip_10_1_0_100 { 0 }");
    expect(differences(wanted([2, 20], []))[0]).to.match(/^c-b: nftables table inet tswarm: something else instead of/);
    expect(reconciler.repair(wanted([2, 20], [])).errors).to.deep.equal([]);
    expect(differences(wanted([2, 20], []))).to.deep.equal([]);
  });

  it("goes on when somebody has changed the backends meanwhile", () => {
    apply(wanted([2, 20], []));
    scratch.inside("c-b", "nft", "flush map inet tswarm vip_10_1_0_100");
    apply(wanted([2], []));
    expect(differences(wanted([2], []))).to.deep.equal([]);
  });

  it("lists a table only after somebody else has touched the rulesets of its namespace", () => {
    apply(wanted([2, 20], []));
    apply(wanted([2, 21], []));
    const before = [table("c-a"), table("c-b")];
    expect(reconciler.repair(wanted([2, 21], [])).drift).to.deep.equal([]);
    scratch.inside("c-b", "nft", "delete element inet tswarm vip_10_1_0_100 { 1 }");
    expect(reconciler.repair(wanted([2, 21], [])).drift.map(({ namespace }) => namespace)).to.deep.equal(["c-b"]);
    scratch.inside("c-a", "nft", "add table inet mine");
    scratch.inside("c-a", "nft", "flush map inet tswarm vip_10_1_0_100");
    apply(wanted([2, 20, 22], []));
    expect(reconciler.repair(wanted([2, 20, 22], [])).errors).to.deep.equal([]);
    expect(apply(wanted([2, 21], []))).to.be.above(0);
    expect([table("c-a"), table("c-b")]).to.deep.equal(before);
  });

  it("keeps connections, and sends new ones to those that are there", async () => {
    const desired = (backends: readonly number[]) => wanted(backends, [], { published: [] });
    apply(desired([3]));
    const serve = `require("net").createServer((s) => s.on("error", () => {}).on("data", (d) => s.write("3 " + d))).listen(9090, "0.0.0.0", () => console.log("ready"))`;
    const talk = `const s = require("net").connect(9090, "10.1.0.100"); s.on("data", (d) => process.stdout.write(d)); process.stdin.on("data", (d) => s.write(d)); s.on("error", (e) => console.log(e.code))`;
    const run = (ns: string, script: string): ChildProcessWithoutNullStreams => {
      const child = scratch.spawn(ns, process.execPath, "-e", script);
      children.push(child);
      return child;
    };
    const answer = async (child: ChildProcessWithoutNullStreams, line = ""): Promise<string> => {
      if (line !== "") child.stdin.write(line);
      return String((await once(child.stdout, "data"))[0]).trim();
    };
    await answer(run("c-b", serve));
    const client = run("c-a", talk);
    expect(await answer(client, "before")).to.equal("3 before");
    for (const [backends, heard] of [
      [[2], "ECONNREFUSED"],
      [[], "ECONNREFUSED"],
      [[2, 3], undefined],
      [[3], "3 new"],
    ] as const) {
      apply(desired(backends));
      expect(await answer(client, "during")).to.equal("3 during");
      if (heard !== undefined) expect(await answer(run("c-a", talk), "new")).to.equal(heard);
    }
  });
});
