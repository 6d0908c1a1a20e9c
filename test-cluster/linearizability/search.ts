// The search for an order that explains a history of one object, after Wing and Gong ("Testing and verifying concurrent
// objects", 1993) with Lowe's memo ("Testing for linearizability", 2017), in the manner of Porcupine: take any call that is
// open before the first return as the next one; when none fits, take back the last; never try a set of done calls with the
// same resulting state twice.
import type { Behaviour, Operation } from "#test-cluster/linearizability/model.ts";

export type SearchResult =
  | { readonly kind: "ok"; readonly steps: number }
  /** `longest`: the longest order found; `stuck`: what had to come next and could not. */
  | {
      readonly kind: "violation";
      readonly steps: number;
      readonly longest: readonly number[];
      readonly stuck: readonly number[];
    }
  | { readonly kind: "undecided"; readonly steps: number };

/** Calls are 1..n, the return of call i is n + i; 0 is the head, and the end of the list. */
type Timeline = { readonly next: Int32Array; readonly previous: Int32Array };

const timelineOf = (operations: readonly Operation<unknown, unknown>[]): Timeline => {
  const n = operations.length;
  const at: { readonly time: number; readonly entry: number }[] = [];
  for (const [i, { invoked, outcome }] of operations.entries()) {
    at.push({ time: invoked, entry: i + 1 });
    if (outcome.kind === "returned") at.push({ time: outcome.at, entry: n + i + 1 });
  }
  // At the same time calls come first: what may have overlapped counts as overlapping.
  at.sort((a, b) => a.time - b.time || a.entry - b.entry);
  const next = new Int32Array(2 * n + 1);
  const previous = new Int32Array(2 * n + 1);
  let last = 0;
  for (const { entry } of at) {
    next[last] = entry;
    previous[entry] = last;
    last = entry;
  }
  next[last] = 0;
  previous[0] = last;
  return { next, previous };
};

/** Sets of done calls with the state they lead to. Equal hashes are compared bit by bit. */
class Memo {
  #known = new Map<number, { readonly done: Uint32Array; readonly state: number }[]>();

  /** False when it is known already. */
  add(hash: number, done: Uint32Array, state: number): boolean {
    const key = (hash ^ Math.imul(state + 1, 0x9e3779b1)) >>> 0;
    const same = this.#known.get(key);
    if (same === undefined) {
      this.#known.set(key, [{ done: done.slice(), state }]);
      return true;
    }
    if (same.some((known) => known.state === state && known.done.every((word, i) => word === done[i]))) return false;
    same.push({ done: done.slice(), state });
    return true;
  }
}

const hashOf = (entry: number): number => {
  const mixed = Math.imul(entry ^ (entry >>> 15), 0x85ebca6b);
  return Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
};

/** `operations` without the invisible ones. Ends undecided after `maxSteps` calls looked at. */
export const search = <I, O>(
  operations: readonly Operation<I, O>[],
  behaviour: Behaviour<I, O>,
  maxSteps: number,
): SearchResult => {
  const n = operations.length;
  const { next, previous } = timelineOf(operations);
  const unlink = (entry: number) => {
    next[previous[entry]!] = next[entry]!;
    previous[next[entry]!] = previous[entry]!;
  };
  const relink = (entry: number) => {
    next[previous[entry]!] = entry;
    previous[next[entry]!] = entry;
  };
  const returns = (entry: number) => operations[entry - 1]!.outcome.kind === "returned";
  const memo = new Memo();
  const done = new Uint32Array((n >> 5) + 1);
  const order: { entry: number; state: number }[] = [];
  let longest: number[] = [];
  let missing = operations.filter(({ outcome }) => outcome.kind === "returned").length;
  let state = behaviour.initial;
  let hash = 0;
  let steps = 0;
  let entry = next[0]!;
  while (missing > 0) {
    if (++steps > maxSteps) return { kind: "undecided", steps };
    if (entry <= n) {
      const after = behaviour.step(state, operations[entry - 1]!);
      const bit = 1 << (entry & 31);
      if (after !== -1) {
        done[entry >> 5]! ^= bit;
        if (memo.add(hash ^ hashOf(entry), done, after)) {
          order.push({ entry, state });
          state = after;
          hash ^= hashOf(entry);
          unlink(entry);
          if (returns(entry)) {
            unlink(n + entry);
            missing--;
          }
          entry = next[0]!;
          continue;
        }
        done[entry >> 5]! ^= bit;
      }
      entry = next[entry]!;
      continue;
    }
    // A return whose call is not done: one of the calls before it should have been another.
    if (order.length > longest.length || longest.length === 0) longest = order.map((o) => o.entry - 1);
    const last = order.pop();
    if (last === undefined) return { kind: "violation", steps, longest, stuck: stuckAfter(operations, longest) };
    if (returns(last.entry)) {
      relink(n + last.entry);
      missing++;
    }
    relink(last.entry);
    done[last.entry >> 5]! ^= 1 << (last.entry & 31);
    hash ^= hashOf(last.entry);
    state = last.state;
    entry = next[last.entry]!;
  }
  return { kind: "ok", steps };
};

/** The calls that were open when the first missing one returned. */
const stuckAfter = (operations: readonly Operation<unknown, unknown>[], longest: readonly number[]): number[] => {
  const done = new Set(longest);
  const rest = operations.flatMap((o, i) => (done.has(i) ? [] : [{ i, o }]));
  const firstReturn = Math.min(...rest.map(({ o }) => (o.outcome.kind === "returned" ? o.outcome.at : Infinity)));
  return rest.filter(({ o }) => o.invoked <= firstReturn).map(({ i }) => i);
};
