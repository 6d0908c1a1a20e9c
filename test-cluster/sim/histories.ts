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

/** Many times what a good history needs. */
const MAX_STEPS = 300_000;

type Asked<I, O> = { readonly id: number; operation: Operation<I, O>; refused: boolean };

export class Histories {
  #moment = 0;
  #applied = new Map<number, { readonly at: number; readonly done: boolean | undefined }>();
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

  /** The first member applies it. `done`: of a compare-and-set. */
  applied(id: number, done: boolean | undefined): void {
    this.#applied.set(id, { at: ++this.#moment, done });
  }

  /**
   * To be called when all members agree. Clients do not know how some operations ended, but the log does: those that no member
   * has applied by then never took effect, the others at the latest when the first one applied them.
   */
  check(violate: Violate): void {
    const happened = <I, O>(
      all: readonly Asked<I, O>[],
      outputOf: (done: boolean | undefined) => O,
    ): Operation<I, O>[] =>
      all.flatMap(({ id, operation, refused }) => {
        if (refused) return [];
        if (operation.outcome.kind === "returned") return [operation];
        const applied = this.#applied.get(id);
        if (applied === undefined) return [];
        return [{ ...operation, outcome: { kind: "returned", at: applied.at, output: outputOf(applied.done) } }];
      });
    const registers = checkLinearizable(
      compareAndSetModel,
      happened(this.#registers, (done) => done ?? null),
      { maxSteps: MAX_STEPS },
    );
    const lists = checkLinearizable(
      appendModel,
      happened(this.#lists, () => null),
      { maxSteps: MAX_STEPS },
    );
    for (const verdict of [registers, lists]) {
      if (verdict.kind === "violation") violate("clients see one history", verdict.report);
      if (verdict.kind === "undecided") violate("the checker decides", verdict.report);
    }
  }
}

export type Ending<O> = { readonly returned: (output: O) => void; readonly refused: () => void };
