// Properties seen by users: all members apply the same, what was acknowledged stays, what was refused never happens, and a
// read barrier covers everything acknowledged before it was asked for.

import { operationOf } from "#test-cluster/sim/commands.ts";
import type { Violate } from "#test-cluster/sim/log-checks.ts";
import type { Life } from "#test-cluster/sim/member.ts";
import type { StateWatch } from "#test-cluster/sim/sim-state.ts";

type State = {
  readonly previous: number;
  readonly term: number;
  readonly operation: number;
  readonly hash: number;
  readonly by: string;
};

export class StateChecks implements StateWatch {
  acknowledged = 0;
  lastAcknowledged = 0;
  #violate: Violate;
  #states = new Map<number, State>();
  #indexOf = new Map<number, number>();
  #refused = new Set<number>();

  #onFirst: (operation: number, done: boolean | undefined) => void;

  /** `onFirst` is told when the first member applies an operation; `done`: of a compare-and-set. */
  constructor(violate: Violate, onFirst: (operation: number, done: boolean | undefined) => void) {
    this.#violate = violate;
    this.#onFirst = onFirst;
  }

  applied: StateWatch["applied"] = (who, { index, term, data }, previous, hash, done) => {
    const known = this.#states.get(index);
    const operation = operationOf(data);
    if (known === undefined) {
      this.#states.set(index, { previous, term, operation, hash, by: who });
      this.#first(index, operation, who);
      this.#onFirst(operation, done);
    } else if (known.hash !== hash || known.term !== term || known.previous !== previous) {
      const one = `${known.by} operation ${known.operation} of term ${known.term} after ${known.previous}`;
      const other = `${who} operation ${operation} of term ${term} after ${previous}`;
      this.#violate("state machine safety", `index ${index}: ${one}; ${other}`);
    }
  };

  #first(index: number, operation: number, who: string): void {
    const before = this.#indexOf.get(operation);
    if (before !== undefined)
      this.#violate("applied once", `operation ${operation} at ${before} and ${index} (${who})`);
    this.#indexOf.set(operation, index);
    if (this.#refused.has(operation)) this.#violate("refused is never applied", `operation ${operation} at ${index}`);
  }

  restored: StateWatch["restored"] = (who, snapshotIndex, index, hash) => {
    const known = index === 0 ? { hash: 0 } : this.#states.get(index);
    if (known?.hash !== hash) this.#violate("state machine safety", `${who} restored a state nobody had at ${index}`);
    for (let between = index + 1; between <= snapshotIndex; between++) {
      if (!this.#states.has(between)) continue;
      this.#violate(
        "state machine safety",
        `${who}: the snapshot of ${snapshotIndex} ends at ${index}, lacks ${between}`,
      );
    }
  };

  acknowledge(operation: number, index: number): void {
    this.acknowledged++;
    this.lastAcknowledged = Math.max(this.lastAcknowledged, index);
    const state = this.#states.get(index);
    if (state?.operation === operation) return;
    this.#violate("acknowledged is applied", `operation ${operation} at ${index}: ${state?.operation} is there`);
  }

  refuse(operation: number): void {
    this.#refused.add(operation);
    if (this.#indexOf.has(operation)) this.#violate("refused is never applied", `operation ${operation}`);
  }

  /** The barrier that `life` passes now was asked for when `index` was the last acknowledged one. */
  passedBarrier(life: Life, index: number): void {
    if (life.state.index >= index) return;
    this.#violate(
      "reads are not stale",
      `${life.name} passes a barrier at ${life.state.index}, ${index} was acknowledged`,
    );
  }
}
