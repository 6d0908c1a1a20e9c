// The same scenarios on the strict model and on the real kernel: both take the same ops, refuse the same ops with the same
// code, and show the same state.

import { expect } from "chai";
import { TswarmError } from "#base/errors.ts";
import { execute } from "#net/exec/executor.ts";
import { Kernel } from "#net/exec/kernel.ts";
import { KernelModel } from "#net/exec/kernel-model.ts";
import { learnPaths, learnSysctls, observe } from "#net/exec/observe.ts";
import { scratchHost } from "#net/exec/testing/scratch-host.ts";
import type { HostNetworks } from "#net/model/host-networks.ts";
import { type HostState, MAIN_TABLE } from "#net/model/host-state.ts";
import { makeRuleset } from "#net/plan/nat/ruleset.ts";
import type { NetOp } from "#net/plan/op.ts";
import { planHost, planTarget, targetOf } from "#net/plan/plan-host.ts";
import {
  attach,
  bridgeNetwork,
  container,
  emptyHost,
  host,
  macOf,
  overlayNetwork,
  remote,
  virtualService,
} from "#net/plan/testdata.ts";

type Subject = {
  /** The error's code, or "". */
  readonly act: (op: NetOp) => string;
  readonly state: () => HostState;
  readonly plan: (desired: HostNetworks) => readonly NetOp[];
  readonly end: () => void;
};

const model = (): Subject => {
  const kernel = new KernelModel(emptyHost());
  const act = (op: NetOp): string => {
    try {
      kernel.apply(op);
      return "";
    } catch (error) {
      return TswarmError.from(error).code;
    }
  };
  return { act, state: () => kernel.state, plan: (desired) => planHost(desired, kernel.state), end: () => {} };
};

const real = (): Subject => {
  const { netns, place, remove } = scratchHost();
  netns.exec("ip", "link", "add", "uplink", "address", "52:54:00:00:00:01", "type", "bridge");
  netns.exec("ip", "link", "set", "uplink", "up");
  netns.exec("ip", "addr", "add", "192.0.2.1/24", "dev", "uplink");
  const kernel = new Kernel(place);
  const act = (op: NetOp): string => {
    let code = "";
    execute([op], kernel, (_, error) => void (code = error?.code ?? ""));
    return code;
  };
  const end = (): void => {
    for (const ns of kernel.namespaces()) act({ op: "netns-del", ns });
    kernel.releaseAll();
    remove();
  };
  const plan = (desired: HostNetworks): readonly NetOp[] => {
    const state = observe(kernel);
    learnPaths(kernel, desired, state);
    const target = targetOf(desired, state);
    learnSysctls(kernel, target, state);
    return planTarget(target, state);
  };
  return { act, state: () => observe(kernel), plan, end };
};

/** What both can know: not the MACs that the kernel invents, nor settings that a fresh namespace comes with. */
const comparable = (state: HostState, ours: (name: string) => boolean) =>
  Object.fromEntries(
    [...state.namespaces].toSorted().map(([ns, s]) => [
      ns,
      {
        links: [...s.links.values()]
          .filter((l) => ours(l.name))
          .map(({ mac: _, ...link }) => link)
          .toSorted((a, b) => a.name.localeCompare(b.name)),
        addresses: [...s.addresses.keys()].filter((a) => !a.startsWith("lo ") && !a.startsWith("uplink ")).toSorted(),
        routes: [...s.routes].toSorted(([a], [b]) => a.localeCompare(b)).map(([, route]) => route),
        rules: [...s.rules.keys()].toSorted(),
        neighbours: [...s.neighbours.values()].toSorted((a, b) => a.ip.localeCompare(b.ip)),
        fdb: [...s.fdb.values()].toSorted((a, b) => a.mac.localeCompare(b.mac)),
        nftDigest: s.nftDigest,
      },
    ]),
  );
const notUplink = (name: string): boolean => name !== "uplink";

const overlay = overlayNetwork(1, { services: [virtualService(overlayNetwork(1), "s", 100, [2])] });
const bridge = bridgeNetwork(1, { options: { "com.docker.network.bridge.enable_icc": "false" } });
const wired = host({
  networks: [overlay, bridge],
  containers: [container("t1", attach(overlay, 2), attach(bridge, 2, "eth1"))],
  remotes: [remote(overlay, 9)],
});
const BRIDGE = { kind: "bridge", mac: macOf(1), mtuBytes: 1500 } as const;

for (const [name, open] of Object.entries({ model, "real kernel": real }))
  describe(`kernel contract: ${name}`, () => {
    let subject: Subject;
    beforeEach(() => void (subject = open()));
    afterEach(() => subject.end());

    const codes = (...ops: readonly NetOp[]): string[] => ops.map((op) => subject.act(op));

    it("takes a whole plan, and planning again gives nothing", () => {
      for (const op of subject.plan(wired)) expect(subject.act(op), JSON.stringify(op)).to.equal("");
      expect(subject.plan(wired)).to.deep.equal([]);
    });

    it("shows the state that the model has after a whole plan", () => {
      const reference = model();
      for (const op of reference.plan(wired)) {
        reference.act(op);
        subject.act(op);
      }
      expect(comparable(subject.state(), notUplink)).to.deep.equal(comparable(reference.state(), notUplink));
    });

    it("takes the way back to nothing", () => {
      for (const op of subject.plan(wired)) subject.act(op);
      for (const op of subject.plan(host({}))) expect(subject.act(op), JSON.stringify(op)).to.equal("");
      expect([...subject.state().namespaces.keys()]).to.deep.equal([""]);
    });

    it("converges after a crash at every tenth op", () => {
      const length = subject.plan(wired).length;
      for (let crashAfter = 1; crashAfter < length; crashAfter += 10) {
        for (const op of subject.plan(wired).slice(0, crashAfter)) subject.act(op);
        for (const op of subject.plan(wired)) expect(subject.act(op), JSON.stringify(op)).to.equal("");
        expect(subject.plan(wired)).to.deep.equal([]);
        for (const op of subject.plan(host({}))) subject.act(op);
      }
    });

    it("refuses to add what exists", () => {
      const add: NetOp = { op: "link-add", ns: "c-x", name: "b", link: BRIDGE };
      const address: NetOp = { op: "addr-add", ns: "c-x", link: "b", address: "10.0.0.1/24" };
      expect(codes({ op: "netns-add", ns: "c-x" }, { op: "netns-add", ns: "c-x" })).to.deep.equal(["", "conflict"]);
      expect(codes(add, add, address, address)).to.deep.equal(["", "conflict", "", "conflict"]);
    });

    it("refuses to change what does not exist", () => {
      codes({ op: "netns-add", ns: "c-x" });
      expect(
        codes(
          { op: "link-up", ns: "c-x", name: "gone" },
          { op: "link-set", ns: "c-x", name: "gone", change: { mtuBytes: 1400 } },
          { op: "addr-add", ns: "c-x", link: "gone", address: "10.0.0.1/24" },
          { op: "route-set", ns: "c-x", destination: "0.0.0.0/0", via: "10.0.0.1", link: "gone", table: MAIN_TABLE },
          { op: "link-up", ns: "c-y", name: "lo" },
        ),
      ).to.deep.equal(["not_found", "not_found", "not_found", "not_found", "not_found"]);
    });

    it("has routes in other tables and rules that lead to them", () => {
      const rule = { family: 4, priority: 20_000, from: "", mark: 7, table: 9_007 } as const;
      const byAddress = { ...rule, family: 6, mark: 0, from: "fd00:7::2/128", table: 9_008 } as const;
      const route = { table: 9_007, destination: "0.0.0.0/0", via: "10.0.0.9", link: "b" };
      const onLink = { table: MAIN_TABLE, destination: "10.9.0.0/24", via: "", link: "b" };
      codes({ op: "netns-add", ns: "c-x" }, { op: "link-add", ns: "c-x", name: "b", link: BRIDGE });
      codes({ op: "addr-add", ns: "c-x", link: "b", address: "10.0.0.1/24" }, { op: "link-up", ns: "c-x", name: "b" });
      const add: NetOp[] = [
        { op: "route-set", ns: "c-x", ...route },
        { op: "route-set", ns: "c-x", ...onLink },
        { op: "rule-add", ns: "c-x", ...rule },
        { op: "rule-add", ns: "c-x", ...byAddress },
      ];
      expect(codes(...add)).to.deep.equal(["", "", "", ""]);
      expect(codes(add[2]!)).to.deep.equal(["conflict"]);
      const { routes, rules } = subject.state().namespaces.get("c-x")!;
      expect([...routes.values()]).to.have.deep.members([route, onLink]);
      expect([...rules.values()]).to.have.deep.members([rule, byAddress]);
      const remove: NetOp[] = [
        { op: "rule-del", ns: "c-x", ...rule },
        { op: "route-del", ns: "c-x", ...route },
      ];
      expect(codes(...remove)).to.deep.equal(["", ""]);
      expect([...subject.state().namespaces.get("c-x")!.rules.values()]).to.deep.equal([byAddress]);
    });

    it("has links on top of the host's, in other namespaces", () => {
      const upper = { lower: "uplink", mode: "private" };
      const add: NetOp = {
        op: "link-add",
        ns: "c-x",
        name: "eth0",
        link: { kind: "macvlan", mac: macOf(7), mtuBytes: 1400, upper },
      };
      expect(codes({ op: "netns-add", ns: "c-x" }, add, add)).to.deep.equal(["", "", "conflict"]);
      const { kind, mac, mtuBytes, upper: seen } = subject.state().namespaces.get("c-x")!.links.get("eth0")!;
      expect({ kind, mac, mtuBytes, seen }).to.deep.equal({
        kind: "macvlan",
        mac: macOf(7),
        mtuBytes: 1400,
        seen: upper,
      });
      expect(codes({ op: "link-del", ns: "", name: "uplink" })).to.deep.equal([""]);
      expect(subject.state().namespaces.get("c-x")!.links.has("eth0")).to.equal(false);
    });

    it("refuses a VNI twice", () => {
      const vxlan = { vni: 4097, port: 4789, local: "192.0.2.1" };
      const add = (ns: string): NetOp => ({
        op: "link-add",
        ns,
        name: "vxlan0",
        link: { kind: "vxlan", mac: "", mtuBytes: 1450, master: "", vxlan },
      });
      codes({ op: "netns-add", ns: "o-1" }, { op: "netns-add", ns: "o-2" });
      expect(codes(add("o-1"), add("o-2"))).to.deep.equal(["", "conflict"]);
    });

    it("changes backends in a table, and nothing when it has others", () => {
      for (const op of subject.plan(wired)) subject.act(op);
      const backends = (numbers: readonly number[]) =>
        host({ ...wired, networks: [{ ...overlay, services: [virtualService(overlay, "s", 100, numbers)] }, bridge] });
      const shown = () =>
        Object.fromEntries(
          [...subject.state().namespaces.get("c-t1")!.nftChoices].map(([name, slots]) => [name, slots.toSorted()]),
        );
      for (const numbers of [[2, 3, 4, 5], [5, 3], [], [6], [2, 3, 4, 5, 6], [2]]) {
        const ops = subject.plan(backends(numbers));
        expect(ops.map(({ op, ns }) => `${ns} ${op}`)).to.deep.equal(["c-t1 nft-choices"]);
        expect(codes(...ops)).to.deep.equal([""]);
        expect(shown()).to.deep.equal({
          vip_10_1_0_100: numbers.map((n) => `10.1.0.${n}`).toSorted(),
          vip_fd00_1__64: numbers.map((n) => `fd00:1::${n}`).toSorted(),
        });
        expect(subject.plan(backends(numbers))).to.deep.equal([]);
      }
      const [more] = subject.plan(backends([2, 3]));
      const [other] = subject.plan(backends([2, 4]));
      expect(codes(more!, other!)).to.deep.equal(["", "conflict"]);
      const [less] = subject.plan(backends([2]));
      expect(codes(less!, less!)).to.deep.equal(["", "not_found"]);
    });

    it("replaces a ruleset and shows its digest", () => {
      const set = (address: string, replaces: boolean): NetOp => {
        const { digest, text, backends } = makeRuleset([
          { name: "c", hook: "filter hook output priority 0", rules: [`ip daddr ${address} drop`] },
        ])!;
        return { op: "nft-set", ns: "c-x", digest, ruleset: text, backends, replaces };
      };
      const [one, two] = [set("10.0.0.1", false), set("10.0.0.2", true)];
      expect(codes({ op: "netns-add", ns: "c-x" }, one, two)).to.deep.equal(["", "", ""]);
      expect(subject.state().namespaces.get("c-x")!.nftDigest).to.equal((two as { digest: string }).digest);
      expect(codes({ op: "nft-del", ns: "c-x" })).to.deep.equal([""]);
      expect(subject.state().namespaces.get("c-x")!.nftDigest).to.equal("");
    });
  });
