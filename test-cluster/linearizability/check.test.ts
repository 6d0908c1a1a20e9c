import { expect } from "chai";
import { type Random, seededRandom } from "#base/random.ts";
import { type Apply, linearizableByBruteForce } from "#test-cluster/linearizability/brute-force.ts";
import { checkLinearizable } from "#test-cluster/linearizability/check.ts";
import type { Model, Operation } from "#test-cluster/linearizability/model.ts";
import {
  type AppendInput,
  type AppendOutput,
  appendModel,
  compareAndSetModel,
  type RegisterInput,
  type RegisterOutput,
  registerModel,
  type Value,
} from "#test-cluster/linearizability/models.ts";

type Register = Operation<RegisterInput, RegisterOutput>;

const returned = <O>(at: number, output: O) => ({ kind: "returned", at, output }) as const;
const unknown = { kind: "unknown" } as const;
const of = <I, O>(invoked: number, input: I, outcome: Operation<I, O>["outcome"], key = "x"): Operation<I, O> => ({
  ...{ client: 1, key, input, invoked, outcome },
});
const write = (from: number, to: number, value: Value): Register =>
  of(from, { op: "write", value }, returned(to, null));
const lostWrite = (from: number, value: Value): Register => of(from, { op: "write", value }, unknown);
const read = (from: number, to: number, value: Value): Register => of(from, { op: "read" }, returned(to, value));
const cas = (from: number, to: number, a: Value, b: Value, done: boolean): Register =>
  of(from, { op: "cas", from: a, to: b }, returned(to, done));
const append = (from: number, to: number, value: number): Operation<AppendInput, AppendOutput> =>
  of(from, { op: "append", value }, returned(to, null));
const list = (from: number, to: number, ...values: number[]): Operation<AppendInput, AppendOutput> =>
  of(from, { op: "read" }, returned(to, values));

const verdict = (history: readonly Register[]) => checkLinearizable(compareAndSetModel, history).kind;

describe("linearizability of known histories", () => {
  it("is there for one operation after the other, and lost when a read goes back", () => {
    expect(verdict([read(1, 2, null), write(3, 4, 1), read(5, 6, 1), write(7, 8, 2), read(9, 10, 2)])).equal("ok");
    expect(verdict([write(1, 2, 1), write(3, 4, 2), read(5, 6, 1)])).equal("violation");
    expect(verdict([write(1, 2, 1), read(3, 4, null)])).equal("violation");
  });

  it("lets overlapping operations take any order, but one for all who look", () => {
    expect(verdict([write(1, 10, 1), write(1, 10, 2), read(2, 9, 1), read(11, 12, 2)])).equal("ok");
    expect(verdict([write(1, 10, 1), write(1, 10, 2), read(11, 12, 2), read(13, 14, 1)])).equal("violation");
    // Seen by one, then not seen by the next.
    expect(verdict([write(1, 10, 1), read(2, 3, 1), read(4, 5, null)])).equal("violation");
    expect(verdict([write(1, 10, 1), read(2, 5, 1), read(4, 6, null)])).equal("ok");
  });

  it("takes operations that touch in time for overlapping", () => {
    expect(verdict([write(1, 2, 1), read(2, 3, null)])).equal("ok");
  });

  it("lets an unknown outcome happen late, or never, but only once", () => {
    expect(verdict([lostWrite(1, 7), read(2, 3, null), read(4, 5, null)])).equal("ok");
    expect(verdict([lostWrite(1, 7), read(2, 3, null), read(4, 5, 7)])).equal("ok");
    expect(verdict([lostWrite(1, 7), read(2, 3, 7), write(4, 5, 8), read(6, 7, 7)])).equal("violation");
    expect(verdict([read(1, 2, 7), lostWrite(3, 7)])).equal("violation");
  });

  it("chains unknown outcomes", () => {
    const lostCas = (from: number, a: Value, b: Value): Register => of(from, { op: "cas", from: a, to: b }, unknown);
    expect(verdict([lostWrite(1, 1), lostCas(1, 1, 2), lostCas(1, 2, 3), read(5, 6, 3)])).equal("ok");
    expect(verdict([lostCas(1, 1, 2), lostCas(1, 2, 3), read(5, 6, 3)])).equal("violation");
  });

  it("knows a compare-and-set that was done or refused without reason", () => {
    expect(verdict([write(1, 2, 1), cas(3, 4, 1, 2, true), read(5, 6, 2), cas(7, 8, 1, 3, false)])).equal("ok");
    expect(verdict([write(1, 2, 1), cas(3, 10, 1, 2, true), cas(3, 10, 1, 3, true)])).equal("violation");
    expect(verdict([write(1, 2, 1), cas(3, 4, 1, 2, false)])).equal("violation");
  });

  it("asks a list to keep everything in one order", () => {
    const kind = (...history: Operation<AppendInput, AppendOutput>[]) => checkLinearizable(appendModel, history).kind;
    expect(kind(append(1, 5, 1), append(1, 5, 2), list(6, 7, 2, 1), append(8, 9, 3), list(10, 11, 2, 1, 3))).equal(
      "ok",
    );
    expect(kind(append(1, 2, 1), append(3, 4, 2), list(5, 6, 2, 1))).equal("violation");
    expect(kind(append(1, 5, 1), append(1, 5, 2), list(6, 7, 1, 2), list(8, 9, 2, 1))).equal("violation");
    // An acknowledged one is lost.
    expect(kind(append(1, 2, 1), append(3, 4, 2), list(5, 6, 2))).equal("violation");
    expect(kind(append(1, 2, 1), list(3, 4, 1, 1))).equal("violation");
    expect(kind(append(1, 2, 1), of(3, { op: "append", value: 2 }, unknown), append(4, 5, 3), list(6, 7, 1, 3))).equal(
      "ok",
    );
    expect(kind(of(1, { op: "append", value: 2 }, unknown), append(2, 3, 3), list(6, 7, 3, 2))).equal("ok");
  });

  it("checks keys apart and tells of the shortest one that fails, cut to what matters", () => {
    const key = (name: string, o: Register): Register => ({ ...o, key: name });
    const long = [1, 2, 3, 4, 5].flatMap((v) => [write(10 * v, 10 * v + 1, v), read(10 * v + 2, 10 * v + 3, v)]);
    const result = checkLinearizable(compareAndSetModel, [
      ...[...long, read(100, 101, 1)].map((o) => key("long", o)),
      ...[write(1, 2, 1), read(3, 4, 1), write(5, 6, 2), read(7, 8, 1), read(9, 10, 1)].map((o) => key("short", o)),
      key("good", write(1, 2, 1)),
    ]);
    expect(result.kind).equal("violation");
    if (result.kind !== "violation") return;
    expect(result.report.split("\n")).deep.equal([
      "register with compare-and-set short: no order explains these 3 of its 5 operations",
      "  client  called  returned  operation",
      "  1       1       2         write 1",
      "  1       5       6         write 2",
      "  1       7       8         read → 1",
      "as far as it goes: write 1, write 2",
      "then none of these can come next: read → 1",
    ]);
  });

  it("does not take a search that was given up for a pass", () => {
    const many = Array.from({ length: 12 }, (_, i) => write(1, 100, i));
    const history = [...many, read(101, 102, 3), read(103, 104, 4)];
    expect(checkLinearizable(compareAndSetModel, history, { maxSteps: 1000 }).kind).equal("undecided");
    expect(checkLinearizable(compareAndSetModel, history).kind).equal("violation");
  });

  it("copes with many open outcomes", () => {
    const history: Operation<{ op: "read" } | { op: "write"; value: Value }, Value>[] = [];
    for (let i = 0; i < 2000; i++) {
      history.push(of(10 * i, { op: "write", value: i }, i % 10 === 0 ? unknown : returned(10 * i + 15, null)));
      history.push(of(10 * i + 16, { op: "read" }, returned(10 * i + 18, i % 10 === 0 && i % 20 !== 0 ? i - 1 : i)));
    }
    const result = checkLinearizable(registerModel, history, { maxSteps: 1_000_000 });
    expect(result.kind).equal("ok");
  });
});

/** Outcomes as a real object gives them, some then changed, so that both verdicts come often. */
const randomHistory = <S, I, O>(
  random: Random,
  initial: S,
  apply: Apply<S, I, O>,
  input: () => I,
  output: (input: I, real: O) => O,
): Operation<I, O>[] => {
  let state = initial;
  let moment = 0;
  return Array.from({ length: 2 + random.int(6) }, (_, client) => {
    moment += random.int(4);
    const asked = input();
    const did = apply(state, asked);
    state = did.state;
    const invoked = moment - random.int(6);
    const at = moment + random.int(6);
    const lost = random.int(5) === 0;
    const outcome = lost ? unknown : returned(at, random.int(6) === 0 ? output(asked, did.output) : did.output);
    return { client, key: "x", input: asked, invoked, outcome };
  });
};

const compare = <S, I, O>(
  model: Model<I, O>,
  initial: S,
  apply: Apply<S, I, O>,
  draw: (random: Random) => { input: () => I; output: (input: I, real: O) => O },
) => {
  const random = seededRandom(7);
  const count = { ok: 0, violation: 0, undecided: 0 };
  for (let i = 0; i < 4000; i++) {
    const { input, output } = draw(random);
    const history = randomHistory(random, initial, apply, input, output);
    const { kind } = checkLinearizable(model, history);
    const expected = linearizableByBruteForce(initial, apply, history) ? "ok" : "violation";
    expect(kind, JSON.stringify(history)).equal(expected);
    count[kind]++;
  }
  expect(count.ok).greaterThan(200);
  expect(count.violation).greaterThan(200);
};

describe("linearizability of random histories agrees with brute force", () => {
  it("for registers with compare-and-set", () => {
    const apply: Apply<Value, RegisterInput, RegisterOutput> = (state, input) => {
      if (input.op === "read") return { state, output: state };
      if (input.op === "write") return { state: input.value, output: null };
      return input.from === state ? { state: input.to, output: true } : { state, output: false };
    };
    compare<Value, RegisterInput, RegisterOutput>(compareAndSetModel, null, apply, (random) => {
      const value = (): Value => [null, 1, 2, 3][random.int(4)]!;
      return {
        input: () => {
          const op = random.int(3);
          if (op === 0) return { op: "read" };
          return op === 1 ? { op: "write", value: value() } : { op: "cas", from: value(), to: value() };
        },
        output: (input, real) => (input.op === "read" ? value() : input.op === "cas" ? !real : null),
      };
    });
  });

  it("for lists", () => {
    const apply: Apply<readonly number[], AppendInput, AppendOutput> = (state, input) =>
      input.op === "read" ? { state, output: state } : { state: [...state, input.value as number], output: null };
    compare<readonly number[], AppendInput, AppendOutput>(appendModel, [], apply, (random) => {
      let next = 0;
      return {
        // Now and then a value that was there before.
        input: () => (random.int(2) === 0 ? { op: "read" } : { op: "append", value: random.int(8) === 0 ? 1 : ++next }),
        output: (input, real) =>
          input.op === "read" && real !== null && real.length > 0
            ? random.int(2) === 0
              ? real.slice(1)
              : [...real].reverse()
            : real,
      };
    });
  });
});
