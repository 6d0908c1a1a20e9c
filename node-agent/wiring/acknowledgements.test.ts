import { expect } from "chai";
import { createAcknowledgements } from "#node-agent/wiring/acknowledgements.ts";

const setup = () => {
  const told: number[] = [];
  const { add, begin, nothingToDo } = createAcknowledgements();
  return { told, add: (n: number) => add(() => told.push(n)), begin, nothingToDo };
};

describe("acknowledgements of views", () => {
  it("come at once when there is nothing to do", () => {
    const { told, add, nothingToDo } = setup();
    add(1);
    nothingToDo();
    nothingToDo();
    expect(told).to.deep.equal([1]);
  });

  it("come after the apply that includes them, the newest for all", () => {
    const { told, add, begin } = setup();
    add(1);
    const apply = begin();
    add(2);
    apply.include();
    expect(told).to.deep.equal([]);
    apply.end(true);
    expect(told).to.deep.equal([2]);
  });

  it("wait for their own apply while an earlier one ends", () => {
    const { told, add, begin } = setup();
    add(1);
    const first = begin();
    first.include();
    add(2);
    const second = begin();
    first.end(true);
    expect(told).to.deep.equal([1]);
    second.include();
    second.end(true);
    expect(told).to.deep.equal([1, 2]);
  });

  it("of a view that asks for nothing wait for what is under way", () => {
    const { told, add, begin, nothingToDo } = setup();
    add(1);
    const apply = begin();
    apply.include();
    add(2);
    nothingToDo();
    expect(told).to.deep.equal([]);
    apply.end(true);
    expect(told).to.deep.equal([2]);
  });

  it("don't come while something that was taken away is left", () => {
    const { told, add, begin, nothingToDo } = setup();
    add(1);
    const apply = begin();
    apply.include();
    apply.end(false);
    add(2);
    nothingToDo();
    expect(told).to.deep.equal([]);
    const again = begin();
    again.include();
    again.end(true);
    expect(told).to.deep.equal([2]);
  });
});
