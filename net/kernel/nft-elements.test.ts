import { expect } from "chai";
import { TswarmError } from "#base/errors.ts";
import { addressBytes } from "#net/codec/address.ts";
import { concatenation, type NftElement, u16be } from "#net/codec/nft-elements.ts";
import { runNft } from "./nft.ts";
import { NftElements } from "./nft-elements.ts";
import { type ScratchNetns, scratchNetns } from "./scratch-netns.ts";

const endpoint = (ip: string, port: number) => concatenation(addressBytes(ip), u16be(port));
const listed = (ns: ScratchNetns, kind: string, name: string): unknown[] => {
  const json = JSON.parse(ns.exec("nft", "-j", "list", kind, "inet", "t", name)) as {
    nftables: Record<string, { elem?: unknown[] }>[];
  };
  return json.nftables.find((o) => kind in o)![kind]!.elem ?? [];
};

describe("nftables elements by raw nfnetlink, observed by nft", () => {
  let ns: ScratchNetns;
  let elements: NftElements;
  beforeEach(() => {
    ns = scratchNetns();
    runNft(
      ns.path,
      `table inet t {
        map m { type ipv4_addr . inet_service : ipv4_addr . inet_service; }
        set s { type ipv6_addr; }
        set many { type ipv4_addr; }
        map v { type ipv4_addr : verdict; }
        chain c { }
      }`,
    );
    elements = NftElements.open(ns.path);
  });
  afterEach(() => {
    elements.close();
    ns.remove();
  });

  it("adds, replaces and deletes in one transaction", () => {
    const key = endpoint("10.0.0.1", 80);
    elements.apply("inet", "t", [
      { op: "add", set: "m", elements: [{ key, data: endpoint("10.0.0.2", 8080) }] },
      { op: "add", set: "s", elements: [{ key: addressBytes("fd00::1") }] },
      {
        op: "add",
        set: "v",
        elements: [
          { key: addressBytes("10.0.0.9"), data: { verdict: "goto", chain: "c" } },
          { key: addressBytes("10.0.0.8"), data: { verdict: "drop" } },
        ],
      },
    ]);
    expect(listed(ns, "map", "m")).to.deep.equal([[{ concat: ["10.0.0.1", 80] }, { concat: ["10.0.0.2", 8080] }]]);
    expect(listed(ns, "set", "s")).to.deep.equal(["fd00::1"]);
    expect(listed(ns, "map", "v")).to.have.deep.members([
      ["10.0.0.9", { goto: { target: "c" } }],
      ["10.0.0.8", { drop: null }],
    ]);
    elements.apply("inet", "t", [
      { op: "del", set: "m", elements: [{ key }] },
      { op: "add", set: "m", elements: [{ key, data: endpoint("10.0.0.3", 81) }] },
    ]);
    expect(listed(ns, "map", "m")).to.deep.equal([[{ concat: ["10.0.0.1", 80] }, { concat: ["10.0.0.3", 81] }]]);
  });

  it("does all or nothing", () => {
    const attempt = () =>
      elements.apply("inet", "t", [
        { op: "add", set: "s", elements: [{ key: addressBytes("fd00::2") }] },
        { op: "del", set: "s", elements: [{ key: addressBytes("fd00::3") }] },
      ]);
    expect(attempt).to.throw(TswarmError, /nft elements of inet t s: ENOENT/);
    expect(listed(ns, "set", "s")).to.deep.equal([]);
    expect(() =>
      elements.apply("inet", "t", [{ op: "add", set: "nope", elements: [{ key: addressBytes("10.0.0.1") }] }]),
    ).to.throw(/ENOENT/);
    elements.apply("inet", "t", [{ op: "add", set: "s", elements: [] }]);
  });

  it("takes thousands at once", () => {
    const many: NftElement[] = Array.from({ length: 3000 }, (_, i) => ({ key: Uint8Array.of(10, 1, i >> 8, i & 255) }));
    elements.apply("inet", "t", [{ op: "add", set: "many", elements: many }]);
    expect(listed(ns, "set", "many")).to.have.length(3000);
  });
});
