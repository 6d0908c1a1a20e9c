import { expect } from "chai";
import fc from "fast-check";
import type { VirtualService } from "#net/model/host-networks.ts";
import { arrange, choiceChanges, type Placed } from "./choices.ts";
import { vipRuleset } from "./vip.ts";

const names = fc.uniqueArray(
  fc.integer({ min: 2, max: 40 }).map((n) => `10.1.0.${n}`),
  { maxLength: 20 },
);
const service = (id: string, address: string, backends: readonly string[]): VirtualService => ({
  id,
  ipv4: address,
  ipv6: "",
  backends: backends.map((ipv4) => ({ ipv4, ipv6: "" })),
});
const rules = (backends: readonly string[], placed?: Placed) =>
  vipRuleset([service("a", "10.1.0.100", backends), service("b", "10.1.0.101", ["10.1.0.2"])], placed)!;

describe("choices", () => {
  it("has just the wanted backends, and moves as few as it can", () => {
    fc.assert(
      fc.property(names, names, (have, wanted) => {
        const slots = arrange(have, wanted);
        expect(slots.toSorted()).to.deep.equal(wanted.toSorted());
        // What comes and what goes share numbers; for what only comes or only goes one more element changes each.
        const written = slots.filter((backend, i) => backend !== have[i]).length;
        const coming = wanted.filter((backend) => !have.includes(backend)).length;
        const holes = have.filter((backend, i) => i < slots.length && !wanted.includes(backend)).length;
        expect(written).to.equal(Math.max(coming, holes));
      }),
    );
  });

  it("leaves what is right as it is", () => {
    const have = ["10.1.0.3", "10.1.0.2"];
    expect(arrange(have, ["10.1.0.2", "10.1.0.3"])).to.equal(have);
    expect(arrange([], [])).to.deep.equal([]);
  });

  it("moves the last one to the place of one that leaves", () => {
    expect(arrange(["a", "b", "c", "d"], ["a", "c", "d"])).to.deep.equal(["a", "d", "c"]);
    expect(arrange(["a", "b", "c"], ["a", "b", "d"])).to.deep.equal(["a", "b", "d"]);
    expect(arrange(["a"], ["a", "b"])).to.deep.equal(["a", "b"]);
  });

  it("backends are no part of a ruleset's digest; addresses are", () => {
    const some = rules(["10.1.0.2", "10.1.0.3"]);
    expect(rules(["10.1.0.9"]).digest).to.equal(some.digest);
    expect(rules([]).digest).to.equal(some.digest);
    expect(vipRuleset([service("a", "10.1.0.99", ["10.1.0.2"])])!.digest).not.to.equal(some.digest);
  });

  it("of namespaces that are alike are compared once, and they stay alike", () => {
    const before = rules(["10.1.0.2", "10.1.0.3"]);
    const after = rules(["10.1.0.2", "10.1.0.3", "10.1.0.4"], (name) => before.backends.get(name)!);
    const changes = choiceChanges(before.backends, after);
    expect(changes.changes.map(({ choice, from, to }) => ({ name: choice.name, from, to }))).to.deep.equal([
      {
        name: "vip_10_1_0_100",
        from: ["10.1.0.2", "10.1.0.3"],
        to: ["10.1.0.2", "10.1.0.3", "10.1.0.4"],
      },
    ]);
    expect(changes.after).to.equal(after.backends);
    expect(choiceChanges(before.backends, after)).to.equal(changes);
    expect(choiceChanges(after.backends, after).changes).to.deep.equal([]);
  });

  it("keep another arrangement of the same backends", () => {
    const other = new Map([...rules(["10.1.0.3", "10.1.0.2"]).backends]);
    const { changes, after } = choiceChanges(other, rules(["10.1.0.2", "10.1.0.3"]));
    expect(changes).to.deep.equal([]);
    expect(after.get("vip_10_1_0_100")).to.deep.equal(["10.1.0.3", "10.1.0.2"]);
  });
});
