// What the clients saw, and whether it can have happened to one register or list.
import { checkLinearizable } from "#test-cluster/linearizability/check.ts";
import type { Operation } from "#test-cluster/linearizability/model.ts";
import {
  type AppendInput,
  type AppendOutput,
  appendModel,
  compareAndSetModel,
  type RegisterInput,
  type RegisterOutput,
} from "#test-cluster/linearizability/models.ts";
import type { Violate } from "#test-cluster/sim/log-checks.ts";
import type { StateChecks } from "#test-cluster/sim/state-checks.ts";

/** Many times what a good history needs. */
const MAX_STEPS = 300_000;

type Asked<I, O> = { readonly id: number; operation: Operation<I, O>; refused: boolean };

export class Histories {
  #moment = 0;
  #registers: Asked<RegisterInput, RegisterOutput>[] = [];
  #lists: Asked<AppendInput, AppendOutput>[] = [];

  /** `id`: 0 for reads. The result is told how the operation ended, if it is at all. */
  register(client: number, key: number, id: number, input: RegisterInput): Ending<RegisterOutput> {
    return this.#ask(this.#registers, client, `r${key}`, id, input);
  }

  list(client: number, key: number, id: number, input: AppendInput): Ending<AppendOutput> {
    return this.#ask(this.#lists, client, `l${key}`, id, input);
  }

  #ask<I, O>(to: Asked<I, O>[], client: number, key: string, id: number, input: I): Ending<O> {
    const operation: Operation<I, O> = { client, key, input, invoked: ++this.#moment, outcome: { kind: "unknown" } };
    const asked = { id, operation, refused: false };
    to.push(asked);
    return {
      returned: (output) => {
        asked.operation = { ...operation, outcome: { kind: "returned", at: ++this.#moment, output } };
      },
      refused: () => {
        asked.refused = true;
      },
    };
  }

  get length(): number {
    return this.#registers.length + this.#lists.length;
  }

  /** To be called when all members agree: what none of them has applied by then never took effect. */
  check(violate: Violate, states: StateChecks): void {
    const happened = <I, O>(all: readonly Asked<I, O>[]): Operation<I, O>[] =>
      all.flatMap(({ id, operation, refused }) => {
        const never = operation.outcome.kind === "unknown" && (id === 0 || !states.wasApplied(id));
        return refused || never ? [] : [operation];
      });
    const registers = checkLinearizable(compareAndSetModel, happened(this.#registers), { maxSteps: MAX_STEPS });
    const lists = checkLinearizable(appendModel, happened(this.#lists), { maxSteps: MAX_STEPS });
    for (const verdict of [registers, lists]) {
      if (verdict.kind === "violation") violate("clients see one history", verdict.report);
      if (verdict.kind === "undecided") violate("the checker decides", verdict.report);
    }
  }
}

export type Ending<O> = { readonly returned: (output: O) => void; readonly refused: () => void };
