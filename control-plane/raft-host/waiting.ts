// Callers that wait: proposals for their entry, read barriers for their index.
import { TswarmError } from "#base/errors.ts";

export type Waiter<T> = { readonly resolve: (value: T) => void; readonly reject: (error: TswarmError) => void };

/** Proposals by index. */
export class ProposalWaiters {
  #waiters = new Map<number, Waiter<number> & { readonly term: number }>();
  /** Of all of them; undefined: of several. */
  #term: number | undefined;

  get size(): number {
    return this.#waiters.size;
  }

  add(index: number, term: number, waiter: Waiter<number>): void {
    this.#term = this.#waiters.size === 0 || this.#term === term ? term : undefined;
    this.#waiters.set(index, { term, ...waiter });
  }

  applied(index: number, term: number): void {
    const waiter = this.#waiters.get(index);
    if (waiter === undefined) return;
    this.#waiters.delete(index);
    if (waiter.term === term) waiter.resolve(index);
    else waiter.reject(new TswarmError("unknown_outcome", "another leader's entry took the place of the proposal"));
  }

  /**
   * Only entries of this `term` are still led to their end from here (undefined: none). The others may still be committed by
   * the next leader: nobody here can know.
   */
  keepOnly(term: number | undefined, why: string): void {
    if (this.#waiters.size === 0 || (term !== undefined && term === this.#term)) return;
    this.#term = term;
    for (const [index, waiter] of this.#waiters) {
      if (waiter.term === term) continue;
      this.#waiters.delete(index);
      waiter.reject(new TswarmError("unknown_outcome", why));
    }
  }
}

type Asked = { waiters: Waiter<void>[]; askedAt: number; ticks: number };
type Answered = { waiters: Waiter<void>[]; index: number; ticks: number };

/** Read barriers: gathered for one question, asked again when no answer comes, then held until the index is applied. */
export class ReadBarriers {
  #next: number;
  #gathering: Waiter<void>[] = [];
  #asked = new Map<number, Asked>();
  #answered: Answered[] = [];

  /** `firstContext` differs in each life of the member: an answer to an earlier life must not count. */
  constructor(firstContext: number) {
    this.#next = firstContext;
  }

  add(waiter: Waiter<void>): void {
    this.#gathering.push(waiter);
  }

  /** The context to ask with for all gathered barriers; undefined when there are none. */
  ask(): number | undefined {
    if (this.#gathering.length === 0) return undefined;
    const context = this.#next++;
    this.#asked.set(context, { waiters: this.#gathering, askedAt: 0, ticks: 0 });
    this.#gathering = [];
    return context;
  }

  answered(context: number, index: number): void {
    const batch = this.#asked.get(context);
    if (batch === undefined) return;
    this.#asked.delete(context);
    this.#answered.push({ index, waiters: batch.waiters, ticks: batch.ticks });
  }

  applied(index: number): void {
    const done = this.#answered.filter((b) => b.index <= index);
    if (done.length === 0) return;
    this.#answered = this.#answered.filter((b) => b.index > index);
    for (const { waiters } of done) for (const { resolve } of waiters) resolve();
  }

  /**
   * One tick. Unanswered questions: a new context every `again` ticks; returns these. After `giveUp` ticks all are given up,
   * also the answered ones: the entries they wait for may never come, if this member was cut off in between.
   */
  tick(again: number, giveUp: number): number[] {
    const contexts: number[] = [];
    for (const [context, batch] of [...this.#asked]) {
      batch.ticks++;
      if (batch.ticks >= giveUp) {
        this.#asked.delete(context);
        const error = new TswarmError("unavailable", "no leader confirmed the read: is a majority of managers up?");
        for (const { reject } of batch.waiters) reject(error);
      } else if (batch.ticks - batch.askedAt >= again) {
        this.#asked.delete(context);
        batch.askedAt = batch.ticks;
        this.#asked.set(this.#next, batch);
        contexts.push(this.#next++);
      }
    }
    for (const batch of this.#answered) {
      if (++batch.ticks < giveUp) continue;
      const error = new TswarmError("unavailable", "this manager is behind the others and does not catch up in time");
      for (const { reject } of batch.waiters) reject(error);
    }
    this.#answered = this.#answered.filter((batch) => batch.ticks < giveUp);
    return contexts;
  }

  rejectAll(error: TswarmError): void {
    const all = [...this.#gathering];
    for (const { waiters } of [...this.#asked.values(), ...this.#answered]) all.push(...waiters);
    this.#gathering = [];
    this.#asked = new Map();
    this.#answered = [];
    for (const { reject } of all) reject(error);
  }
}
