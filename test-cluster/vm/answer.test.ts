import { expect } from "chai";
import { answerReader } from "./answer.ts";

describe("answer of a guest", () => {
  const read = (answer: string, pieceLength: number) => {
    const shown: string[] = [];
    const reader = answerReader("mark-7", (text) => shown.push(text));
    const answers = [];
    for (let i = 0; i < answer.length; i += pieceLength) answers.push(reader.take(answer.slice(i, i + pieceLength)));
    return { shown, last: answers.pop(), earlier: answers.filter(Boolean) };
  };

  it("is found whatever pieces it comes in, and shown without its mark", () => {
    for (const output of ["", "\n", "one\ntwo", "one\n\n", "mark-7 3", "\nmark-7 x\nmark-8 0\n"])
      for (const pieceLength of [1, 2, 3, 5, 8, 100]) {
        const { shown, last, earlier } = read(`${output}\nmark-7 42\n`, pieceLength);
        expect([shown.join(""), last, earlier]).to.deep.equal([output, { code: 42, output }, []]);
      }
  });

  it("is not awaited to its end before lines are shown", () => {
    expect(read("one\ntwo\nthr", 4)).to.deep.include({ shown: ["one", "\ntwo"], last: undefined });
  });
});
