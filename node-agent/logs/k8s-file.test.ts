import { expect } from "chai";
import { createJoiner, parseLine } from "./k8s-file.ts";

const parse = (line: string) => parseLine(Buffer.from(line));
const text = (data: Uint8Array | undefined) => data && Buffer.from(data).toString();

describe("k8s-file lines", () => {
  it("have time, stream and text, blanks and all", () => {
    const piece = parse("2026-11-21T02:49:23.678517359+00:00 stderr F  a b ")!;
    expect(piece).to.deep.include({
      atUs: Date.UTC(2026, 10, 21, 2, 49, 23) * 1000 + 678517,
      stderr: true,
      partial: false,
    });
    expect(text(piece.data)).to.equal(" a b ");
    expect(text(parse("2026-11-21T02:49:23.5+00:00 stdout F ")?.data)).to.equal("");
  });
  it("may be in another time zone, or without a fraction", () => {
    expect(parse("2026-11-21T02:49:24.000000001+02:00 stdout F x")?.atUs).to.equal(
      Date.UTC(2026, 10, 21, 0, 49, 24) * 1000,
    );
    expect(parse("2026-11-21T02:49:25Z stdout P x")).to.deep.include({
      atUs: Date.UTC(2026, 10, 21, 2, 49, 25) * 1000,
      partial: true,
    });
  });
  it("of another form are nothing", () => {
    const wrong = [
      "",
      "x",
      "2026-11-21T02:49:23Z stdin F x",
      "not-a-time-at-all-but-long stdout F x",
      "\0\0\0\0 \0 \0",
    ];
    for (const line of wrong) expect(parse(line), line).to.equal(undefined);
  });
});

describe("createJoiner", () => {
  const piece = (atUs: number, flag: "P" | "F", data: string, stderr = false) => ({
    ...{ atUs, stderr, partial: flag === "P", data: Buffer.from(data) },
  });
  it("joins the pieces of each stream by itself, with the first one's time", () => {
    const joiner = createJoiner();
    expect(joiner.push(piece(1, "P", "a"))).to.equal(undefined);
    expect(joiner.push(piece(2, "P", "x", true))).to.equal(undefined);
    expect(joiner.push(piece(3, "F", "b"))).to.deep.equal({ atUs: 1, stderr: false, data: Buffer.from("ab") });
    expect(joiner.push(piece(4, "F", "c"))?.atUs).to.equal(4);
    expect(joiner.rest()).to.deep.equal([{ atUs: 2, stderr: true, data: Buffer.from("x") }]);
    expect(joiner.rest()).to.deep.equal([]);
  });
  it("keeps pieces although the reader's buffer changes", () => {
    const joiner = createJoiner();
    const buffer = Buffer.from("old");
    joiner.push({ atUs: 1, stderr: false, partial: true, data: buffer });
    buffer.write("new");
    expect(text(joiner.push(piece(2, "F", "!"))?.data)).to.equal("old!");
  });
  it("gives a line that never ends out in parts", () => {
    const joiner = createJoiner();
    const sizes = [];
    for (let i = 0; i < 100; i++) sizes.push(joiner.push(piece(1, "P", "x".repeat(8192)))?.data.length ?? 0);
    expect(Math.max(...sizes)).to.be.within(8192, 300_000);
  });
});
