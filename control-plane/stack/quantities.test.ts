import { expect } from "chai";
import { parseCpus, parseDuration, parseSize, splitCommand } from "#control-plane/stack/quantities.ts";

const table = <T>(parse: (text: string) => T, cases: [string, T][]) => {
  for (const [text, value] of cases) it(`"${text}"`, () => expect(parse(text)).to.deep.equal(value));
};

describe("durations", () =>
  table(parseDuration, [
    ["10s", 10_000],
    ["1m30s", 90_000],
    ["1.5h", 5_400_000],
    ["250ms", 250],
    ["1500us", 2],
    ["0", 0],
    ["10", undefined],
    ["-1s", undefined],
    ["1s ", undefined],
    ["s", undefined],
    ["", undefined],
  ]));

describe("sizes", () =>
  table(parseSize, [
    ["64m", 64 << 20],
    ["64MiB", 64 << 20],
    ["1.5g", 1.5 * 2 ** 30],
    ["1024", 1024],
    ["1kb", 1024],
    ["12b", 12],
    ["m", undefined],
    ["1x", undefined],
    ["-1m", undefined],
  ]));

describe("CPUs", () =>
  table(parseCpus, [
    ["0.5", 5e8],
    [".25", 2.5e8],
    ["2", 2e9],
    ["1e3", undefined],
    ["-1", undefined],
    ["", undefined],
  ]));

describe("command lines", () =>
  table(splitCommand, [
    ["sleep infinity", ["sleep", "infinity"]],
    [`sh -c 'echo "x y"'`, ["sh", "-c", 'echo "x y"']],
    [`a "b \\" c" d\\ e ''`, ["a", 'b " c', "d e", ""]],
    ["open 'quote", undefined],
    ["  ", []],
  ]));
