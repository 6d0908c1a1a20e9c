import { readFileSync } from "node:fs";
import path from "node:path";
import { expect } from "chai";
import { mutants } from "#test-cluster/sim/mutants/mutants.ts";

const root = path.join(import.meta.dirname, "../../..");

describe("mutants", () => {
  it("fit the code as it is", () => {
    const misfits = mutants.flatMap(({ name, edits }) =>
      edits
        .filter(({ file, from }) => readFileSync(path.join(root, file), "utf8").split(from).length !== 2)
        .map(({ file, from }) => `${name}: ${file} does not have exactly once: ${from}`),
    );
    expect(misfits).deep.equal([]);
    expect(new Set(mutants.map((m) => m.name)).size).equal(mutants.length);
    expect(mutants.length).at.least(25);
  });
});
