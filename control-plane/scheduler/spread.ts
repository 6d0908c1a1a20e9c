// Where the next task of a group goes. The nodes form a tree by the values of the placement preferences (outermost
// first); at each level the branch with the fewest tasks of the service is taken, at the leaf the best node of a heap.

import { nodeValue } from "#control-plane/specs/constraint.ts";
import type { Candidate } from "./candidate.ts";
import { Heap } from "./heap.ts";

type Branch = {
  tasks: number;
  readonly value: string;
  readonly children: Branch[];
  readonly heap: Heap<Candidate> | undefined;
};

/** Fewest tasks of this service, then fewest tasks, then the service's own order of nodes. Failing nodes last. */
const before = (a: Candidate, b: Candidate): boolean => {
  if (a.failing !== b.failing) return b.failing;
  if (a.serviceTasks !== b.serviceTasks) return a.serviceTasks < b.serviceTasks;
  if (a.tasks !== b.tasks) return a.tasks < b.tasks;
  if (a.rank !== b.rank) return a.rank < b.rank;
  return a.node.id < b.node.id;
};

const grow = (candidates: readonly Candidate[], keys: readonly string[], value: string): Branch => {
  const tasks = candidates.reduce((sum, candidate) => sum + candidate.serviceTasks, 0);
  const [key, ...rest] = keys;
  if (key === undefined) return { tasks, value, children: [], heap: new Heap(candidates, before) };
  const groups = Map.groupBy(candidates, (candidate) => nodeValue(candidate.node, key));
  const children = [...groups].map(([label, members]) => grow(members, rest, label));
  children.sort((a, b) => (a.value < b.value ? -1 : 1));
  return { tasks, value, children, heap: undefined };
};

export type Spread = {
  /**
   * The best node that `fits` accepts, or undefined when none does. A node that was refused is not asked again: what
   * is placed only takes away. The caller must have counted the placement on the returned candidate when it calls again.
   */
  next(fits: (candidate: Candidate) => boolean): Candidate | undefined;
};

export const spread = (candidates: readonly Candidate[], keys: readonly string[]): Spread => {
  const root = grow(candidates, keys, "");
  let moved: Heap<Candidate> | undefined;
  const pick = (branch: Branch, fits: (candidate: Candidate) => boolean): Candidate | undefined => {
    if (branch.heap !== undefined) {
      for (;;) {
        const first = branch.heap.first();
        if (first === undefined) return undefined;
        if (fits(first)) {
          moved = branch.heap;
          branch.tasks++;
          return first;
        }
        branch.heap.dropFirst();
      }
    }
    while (branch.children.length > 0) {
      const least = branch.children.reduce((a, b) => (b.tasks < a.tasks ? b : a));
      const found = pick(least, fits);
      if (found !== undefined) {
        branch.tasks++;
        return found;
      }
      branch.children.splice(branch.children.indexOf(least), 1);
    }
    return undefined;
  };
  return {
    next: (fits) => {
      moved?.sink();
      moved = undefined;
      return pick(root, fits);
    },
  };
};
