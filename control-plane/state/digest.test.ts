import { expect } from "chai";
import fc from "fast-check";
import { Node } from "#proto/gen/types.ts";
import { Digest } from "./digest.ts";
import { createState } from "./state.ts";
import type { State } from "./types.ts";

const object = fc.tuple(fc.constantFrom("node", "task"), fc.string({ maxLength: 3 }), fc.nat(2 ** 40));
const digestOf = (objects: readonly (readonly [string, string, number])[]): string => {
  const digest = new Digest();
  for (const [table, id, version] of objects) digest.add(table, id, version);
  return digest.toString();
};

describe("digest of the state", () => {
  it("does not depend on the order, and not on what came and went", () => {
    const objects = fc.uniqueArray(object, { selector: ([table, id]) => `${table}/${id}`, maxLength: 20 });
    fc.assert(
      fc.property(objects, objects, (kept, gone) => {
        const digest = new Digest();
        for (const [table, id, version] of gone) digest.add(table, id, version);
        for (const [table, id, version] of [...kept].reverse()) digest.add(table, id, version);
        for (const [table, id, version] of gone) digest.remove(table, id, version);
        expect(digest.toString()).to.equal(digestOf(kept));
      }),
    );
  });

  it("is another one when an object is missing, added or of another version", () => {
    const some = Array.from({ length: 2_000 }, (_, i) => ["task", `t${i}`, i + 1] as const);
    const seen = new Set([digestOf(some)]);
    for (let i = 0; i < some.length; i += 7) {
      const [table, id, version] = some[i]!;
      seen.add(digestOf(some.filter((_, n) => n !== i)));
      seen.add(digestOf([...some.filter((_, n) => n !== i), [table, id, version + 1]]));
      seen.add(digestOf([...some, [table, `x${id}`, version]]));
    }
    expect(seen.size).to.equal(1 + 3 * Math.ceil(some.length / 7));
  });

  const put = (state: State, index: number, id: string): void => {
    const tx = state.begin();
    tx.put("node", { ...(tx.get("node", id) ?? Node.fromPartial({ id })), description: undefined });
    state.apply(index, { id: `c${index}`, time: index, changes: tx.changes() });
  };

  it("is remembered every 64 indexes, also when no command has exactly that one, and after a snapshot", () => {
    const state = createState();
    const other = createState();
    for (let index = 1; index <= 1_000; index++) {
      // Other entries of the log have indexes too.
      if (index % 64 === 0 && index % 128 !== 0) continue;
      put(state, index, `n${index % 10}`);
      if (index === 700) other.restore(700, state.snapshot());
      if (index > 700) put(other, index, `n${index % 10}`);
    }
    const known = new Map(state.digests().map(({ index, digest }) => [index, digest]));
    expect([...known.keys()]).to.deep.equal(Array.from({ length: 15 }, (_, i) => 64 * (i + 1)));
    expect(new Set(known.values()).size).to.equal(15);
    expect(other.digests().map(({ index }) => index)).to.deep.equal([704, 768, 832, 896, 960]);
    for (const { index, digest } of other.digests()) expect(digest, String(index)).to.equal(known.get(index));
    // One lost object, and the states are known to have parted at the next of these indexes.
    const tx = other.begin();
    tx.delete("node", "n1");
    other.apply(1_001, { id: "lost", time: 1, changes: tx.changes() });
    for (const s of [state, other]) put(s, 1_025, "n2");
    expect(other.digests().at(-1)!.index).to.equal(1_024);
    expect(other.digests().at(-1)!.digest).to.not.equal(state.digests().at(-1)!.digest);
  });
});
