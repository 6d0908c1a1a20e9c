// The state behind the replicated log: what is written goes through `write`, what is committed is applied here. The only
// place where the two meet.

import type { Clock } from "#base/clock.ts";
import { reading, refuse, TswarmError } from "#base/errors.ts";
import { newId } from "#base/ids.ts";
import type { Random } from "#base/random.ts";
import type { Committed, ReplicatedLog, StateMachine } from "#control-plane/log/log.ts";
import type { ApplyResult, State, Tx, WriteContext } from "#control-plane/state/types.ts";
import { type Change, Command } from "#proto/gen/store.ts";

/** Conflicts come from writers that ran at the same moment: few, and the second try sees what the first one met. */
const MAX_TRIES = 8;

export type Outcome = { readonly index: number; readonly result: ApplyResult };

export type ReplicatedState = {
  readonly state: State;
  readonly machine: StateMachine;
  /** The log is opened with `machine`, then handed in here. */
  attach(log: ReplicatedLog): void;
  readonly context: () => WriteContext;
  /** ReplicatedLog.readBarrier: afterwards `state` has everything that was committed before, or it rejects. */
  barrier(): Promise<void>;
  /** One command; resolves when it is applied here, whatever it changed. Rejects as ReplicatedLog.propose does. */
  propose(command: Command): Promise<Outcome>;
  /**
   * Runs `operation` on a transaction over the newest state and commits what it wrote; again when another writer was
   * faster. The operation throws to refuse: then nothing is written. Resolves with its result and the log index.
   *
   * Another writer shows by the versions of what both write. An operation that depends on what it only reads, because it
   * removes what others may just begin to refer to, runs `alone`: no other one is between its reading and its commit then.
   */
  write<T>(
    operation: (tx: Tx, context: WriteContext) => T,
    how?: { readonly alone: boolean },
  ): Promise<{ value: T; index: number }>;
};

export const createReplicatedState = (state: State, clock: Clock, random: Random): ReplicatedState => {
  let log: ReplicatedLog | undefined;
  // Results of commands that were proposed here, kept from their apply until their proposer wakes up.
  const awaited = new Map<string, ApplyResult | undefined>();
  const inFlight = new Set<Promise<Outcome>>();
  /** Resolves when who writes alone is done. */
  let gate: Promise<void> | undefined;
  const context = (): WriteContext => ({ now: clock.now(), newId: () => newId(random) });

  const machine: StateMachine = {
    apply(entries: readonly Extract<Committed, { kind: "entry" }>[]) {
      for (const { index, data } of entries) {
        const command = reading("internal", `the command at index ${index}`, () => Command.decode(data));
        const result = state.apply(index, command);
        if (awaited.has(command.id)) awaited.set(command.id, result);
      }
    },
    async restore(snapshot) {
      const restoring = state.beginRestore(snapshot.index);
      for await (const chunk of snapshot.chunks) restoring.add(chunk);
      restoring.finish();
    },
    snapshot: () => state.snapshot(),
  };

  const opened = (): ReplicatedLog => {
    if (log) return log;
    throw new TswarmError("unavailable", "the manager is starting: try again in a moment");
  };

  const propose = (command: Command): Promise<Outcome> => {
    const outcome = proposed(command);
    inFlight.add(outcome);
    const over = () => inFlight.delete(outcome);
    outcome.then(over, over);
    return outcome;
  };

  const proposed = async (command: Command): Promise<Outcome> => {
    const to = opened();
    awaited.set(command.id, undefined);
    try {
      const index = await to.propose(Command.encode(command).finish());
      // A snapshot may have overtaken the entry; then its effect is in the state and nobody can tell the details.
      return { index, result: awaited.get(command.id) ?? { ok: true } };
    } finally {
      awaited.delete(command.id);
    }
  };

  const commandOf = (changes: Change[], { now, newId: id }: WriteContext): Command => ({
    id: id(),
    time: now,
    changes,
  });

  const barrier = async (): Promise<void> => opened().readBarrier();

  /** Writers wait until the returned function is called. What earlier leaders have begun is decided, too. */
  const closeGate = async (): Promise<() => void> => {
    while (gate) await gate;
    const { promise, resolve } = Promise.withResolvers<void>();
    gate = promise;
    const open = () => {
      gate = undefined;
      resolve();
    };
    try {
      await Promise.allSettled(inFlight);
      await barrier();
    } catch (error) {
      open();
      throw error;
    }
    return open;
  };

  const tryToWrite = async <T>(operation: (tx: Tx, context: WriteContext) => T, mayPass: boolean) => {
    for (let tries = 0; ; tries++) {
      while (gate && !mayPass) await gate;
      const tx = state.begin();
      const ctx = context();
      const value = operation(tx, ctx);
      const changes = tx.changes();
      if (changes.length === 0) return { value, index: state.index };
      const { index, result } = await propose(commandOf(changes, ctx));
      if (result.ok) return { value, index };
      if (tries + 1 === MAX_TRIES)
        throw refuse(
          "conflict",
          `${result.table} ${result.id}`,
          result.reason,
          "Others change it at the same time: try again",
        );
    }
  };

  return {
    state,
    machine,
    context,
    propose,
    barrier,
    attach(attached) {
      log = attached;
    },
    async write(operation, { alone } = { alone: false }) {
      if (!alone) return tryToWrite(operation, false);
      const openGate = await closeGate();
      try {
        return await tryToWrite(operation, true);
      } finally {
        openGate();
      }
    },
  };
};
