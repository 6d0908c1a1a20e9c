import { expect } from "chai";
import { TswarmError } from "#base/errors.ts";
import { encodeChanges, type NftChange, type NftElement } from "#net/codec/nft-transaction.ts";
import { slotData, slotKey, type Translation, translation } from "#net/codec/nft-translation.ts";
import { runNft } from "./nft.ts";
import { NftSocket } from "./nft-socket.ts";
import { type ScratchNetns, scratchNetns } from "./scratch-netns.ts";

const element = (slot: number, address: string): NftElement => ({ key: slotKey(slot), data: slotData(address) });

describe("nftables transactions by raw nfnetlink, observed by nft", () => {
  let ns: ScratchNetns;
  let socket: NftSocket;
  beforeEach(() => {
    ns = scratchNetns();
    runNft(
      ns.path,
      `table inet t {
        map m { typeof numgen random mod 1 : ip daddr; }
        map six { typeof numgen random mod 1 : ip6 daddr; }
        chain c { }
        chain d { }
      }`,
    );
    socket = NftSocket.open(ns.path);
  });
  afterEach(() => {
    socket.close();
    ns.remove();
  });

  const run = (...changes: readonly NftChange[]): void => socket.run(encodeChanges("t", changes), "test");
  const elements = (map: string): unknown[] => {
    const json = JSON.parse(ns.exec("nft", "-j", "list", "map", "inet", "t", map)) as {
      nftables: Record<string, { elem?: [number, string][] }>[];
    };
    return (json.nftables.find((o) => "map" in o)!.map!.elem ?? []).toSorted(([a], [b]) => a - b);
  };
  const rules = (chain: string): string =>
    ns.exec("nft", "--debug=netlink", "list", "chain", "inet", "t", chain).replace(`inet t ${chain}`, "");

  it("adds, replaces and deletes elements", () => {
    run({ op: "add-elements", map: "m", elements: [element(0, "10.0.0.1"), element(1, "10.0.0.2")] });
    run({ op: "add-elements", map: "six", elements: [element(0, "fd00::1")] });
    expect(elements("m")).to.deep.equal([
      [0, "10.0.0.1"],
      [1, "10.0.0.2"],
    ]);
    expect(elements("six")).to.deep.equal([[0, "fd00::1"]]);
    run(
      { op: "del-elements", map: "m", keys: [slotKey(0), slotKey(1)] },
      { op: "add-elements", map: "m", elements: [element(0, "10.0.0.2")] },
    );
    expect(elements("m")).to.deep.equal([[0, "10.0.0.2"]]);
  });

  it("does all or nothing", () => {
    const rule = translation({ family: "inet", map: "m", modulus: 1 });
    const attempt = () =>
      run(
        { op: "set-rule", chain: "c", rule },
        { op: "add-elements", map: "m", elements: [element(0, "10.0.0.1")] },
        { op: "del-elements", map: "m", keys: [slotKey(7)] },
      );
    expect(attempt).to.throw(TswarmError, /test: ENOENT/);
    expect(elements("m")).to.deep.equal([]);
    expect(rules("c")).not.to.contain("dnat");
    expect(() => run({ op: "add-elements", map: "nope", elements: [element(0, "10.0.0.1")] })).to.throw(/ENOENT/);
    run({ op: "add-elements", map: "m", elements: [element(0, "10.0.0.1")] });
    expect(() => run({ op: "add-elements", map: "m", elements: [element(0, "10.0.0.2")] })).to.throw(/EEXIST/);
  });

  it("changes nothing when the rulesets are not of the given generation any more", () => {
    const add = (slot: number) =>
      encodeChanges("t", [{ op: "add-elements", map: "m", elements: [element(slot, `10.0.0.${slot}`)] }]);
    const generation = socket.generation();
    socket.run(add(0), "test", generation);
    expect(socket.generation()).to.equal(generation + 1);
    expect(() => socket.run(add(1), "test", generation)).to.throw(/test: ERESTART/);
    expect(elements("m")).to.have.length(1);
    socket.run(add(1), "test", generation + 1);
    expect(elements("m")).to.have.length(2);
  });

  it("has a generation that goes up with every change, of this namespace alone", () => {
    const other = scratchNetns();
    try {
      const first = socket.generation();
      runNft(other.path, "add table inet x");
      expect(socket.generation()).to.equal(first);
      ns.exec("nft", "add table inet x");
      const second = socket.generation();
      expect(second).not.to.equal(first);
      ns.exec("nft", "list ruleset");
      expect(socket.generation()).to.equal(second);
    } finally {
      other.remove();
    }
  });

  it("takes thousands at once", () => {
    const many = Array.from({ length: 3000 }, (_, i) => element(i, `10.1.${i >> 8}.${i & 255}`));
    run({ op: "add-elements", map: "m", elements: many });
    expect(elements("m")).to.have.length(3000);
    run({ op: "del-elements", map: "m", keys: many.map(({ key }) => key) });
    expect(elements("m")).to.deep.equal([]);
  });

  const cases: { readonly text: string; readonly of: Translation }[] = [
    { text: "dnat ip to numgen random mod 3 map @m", of: { family: "inet", map: "m", modulus: 3 } },
    { text: "dnat ip6 to numgen random mod 70000 map @six", of: { family: "inet6", map: "six", modulus: 70_000 } },
    {
      text: "meta l4proto tcp dnat ip to numgen random mod 1 map @m:80",
      of: { family: "inet", map: "m", modulus: 1, port: { protocol: 6, target: 80 } },
    },
    {
      text: "meta l4proto sctp dnat ip6 to numgen random mod 2 map @six:36412",
      of: { family: "inet6", map: "six", modulus: 2, port: { protocol: 132, target: 36_412 } },
    },
  ];
  for (const { text, of } of cases)
    it(`writes the rule that libnftables writes: ${text}`, () => {
      runNft(ns.path, `add rule inet t c ${text}\nadd rule inet t d accept\nadd rule inet t d drop`);
      run({ op: "set-rule", chain: "d", rule: translation(of) });
      const [theirs, ours] = [rules("c"), rules("d")].map((shown) =>
        shown.replace(/^ *\d+$/gm, "").replace("chain d", "chain c"),
      );
      expect(ours).to.contain(text);
      expect(ours).to.equal(theirs);
    });
});
