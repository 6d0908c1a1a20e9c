// The same log leads to the same state on every manager, however it is served there: in batches of any size, with reads,
// watchers and snapshots between them, and by a manager that begins with another one's snapshot at any point.
import { expect } from "chai";
import fc from "fast-check";
import { realClock } from "#base/node/system.ts";
import { type Random, seededRandom } from "#base/random.ts";
import type { StateMachine } from "#control-plane/log/log.ts";
import { createReplicatedState } from "#control-plane/manager/replicated-state.ts";
import { hashState } from "#control-plane/state/hash.ts";
import { createState } from "#control-plane/state/state.ts";
import { TABLE_NAMES } from "#control-plane/state/tables.ts";
import type { State, StateBatch, Tx } from "#control-plane/state/types.ts";
import { Command } from "#proto/gen/store.ts";
import { Network, Node, Service, Task, TaskState } from "#proto/gen/types.ts";

type Step = { readonly kind: "write" | "hold" | "late" | "again" | "broken"; readonly seed: number };
const steps = fc.array(
  fc.record<Step>({
    kind: fc.constantFrom("write", "write", "write", "write", "hold", "late", "again", "broken"),
    seed: fc.nat(1_000_000),
  }),
  { minLength: 1, maxLength: 60 },
);

const STATES = [TaskState.TASK_NEW, TaskState.TASK_RUNNING, TaskState.TASK_FAILED];

/** Whatever a writer may do, also what will be refused: names, addresses and objects are few. */
const write = (tx: Tx, random: Random): void => {
  for (let left = 1 + random.int(4); left > 0; left--) {
    const n = random.int(6);
    const table = TABLE_NAMES[random.int(TABLE_NAMES.length)]!;
    if (random.int(5) === 0) {
      tx.delete(table, `${table}${n}`);
      continue;
    }
    const name = `name${random.int(4)}`;
    const ipv4 = `10.0.0.${2 + random.int(8)}`;
    const labels = Object.fromEntries(["b", "a", "c"].slice(random.int(3)).map((key) => [key, `${n}`]));
    const meta = tx.get(table, `${table}${n}`)?.meta;
    if (table === "network")
      tx.put(table, {
        ...Network.fromPartial({ id: `network${n}`, vni: random.int(4), subnets: [{ gateway: "10.0.0.1" }] }),
        spec: { ...Network.fromPartial({ spec: {} }).spec!, annotations: { name, labels } },
        meta,
      });
    else if (table === "service")
      tx.put(table, {
        ...Service.fromPartial({ id: `service${n}`, vips: [{ networkId: "network1", ipv4 }] }),
        spec: Service.fromPartial({ spec: { annotations: { name, labels }, replicas: n } }).spec,
        meta,
      });
    else if (table === "task")
      tx.put(table, {
        ...Task.fromPartial({
          ...{ id: `task${n}`, serviceId: `service${n % 3}`, nodeId: `node${n % 2}`, slot: n },
          status: { state: STATES[random.int(3)] },
          attachments: [{ networkId: "network1", ipv4: `${ipv4}/24` }],
        }),
        meta,
      });
    else if (table === "node")
      tx.put(table, { ...Node.fromPartial({ id: `node${n}`, spec: { annotations: { labels } } }), meta });
  }
};

/** Commands as bytes: fresh ones, those of writers that were too slow, repeated and impossible ones. */
const logOf = (sequence: readonly Step[]): Buffer[] => {
  const leader = createState();
  const log: Command[] = [];
  const held: Command[] = [];
  for (const { kind, seed } of sequence) {
    const tx = leader.begin();
    write(tx, seededRandom(seed));
    const fresh: Command = { id: `c${log.length}-${seed}`, time: 1_000 + seed, changes: tx.changes() };
    if (kind === "hold") {
      held.push(fresh);
      continue;
    }
    const [change] = fresh.changes;
    const broken = change && { ...fresh, changes: [...fresh.changes, { ...change, table: "nothing" }, change] };
    const chosen =
      (kind === "late" && held.shift()) ||
      (kind === "again" && log[seed % log.length]) ||
      (kind === "broken" && broken);
    const command = chosen || fresh;
    log.push(command);
    leader.apply(log.length, command);
  }
  return log.map((command) => Buffer.from(Command.encode(command).finish()));
};

const textOf = ({ index, events }: StateBatch): string =>
  `${index}: ${events.map((e) => `${e.action} ${e.table} ${e.object.id} ${e.previous?.meta?.version}`).join(", ")}`;

class Manager {
  readonly state: State = createState();
  readonly machine: StateMachine = createReplicatedState(this.state, realClock, seededRandom(1)).machine;
  readonly told: string[] = [];

  constructor() {
    this.state.watch((batch) => {
      if (!batch.restored) this.told.push(textOf(batch));
    });
  }

  apply(log: readonly Buffer[], from: number, to: number): void {
    const entries = log
      .slice(from, to)
      .map((data, i) => ({ kind: "entry" as const, index: from + i + 1, term: 1, data }));
    this.machine.apply(entries);
  }
}

/** In pieces of any size. */
async function* cut(pieces: Iterable<Uint8Array>, random: Random): AsyncGenerator<Uint8Array> {
  for (const piece of pieces)
    for (let at = 0; at < piece.length; ) {
      const size = 1 + random.int(random.int(3) === 0 ? 10 : 10_000);
      yield piece.subarray(at, at + size);
      at += size;
    }
}

/** One manager's way through the log. */
const serve = async (log: readonly Buffer[], random: Random): Promise<Manager> => {
  let manager = new Manager();
  const pending: { pieces: Iterator<Uint8Array>; taken: Uint8Array[]; hash: string; index: number }[] = [];
  for (let at = 0; at < log.length; ) {
    const to = Math.min(log.length, at + 1 + random.int(7));
    manager.apply(log, at, to);
    at = to;
    const { state } = manager;
    switch (random.int(6)) {
      case 0: {
        // A reader, and a writer that gives up.
        const tx = state.begin();
        for (const table of TABLE_NAMES) for (const object of tx.all(table)) tx.delete(table, object.id);
        tx.changes();
        break;
      }
      case 1:
        state.watch(() => {})();
        break;
      case 2: {
        // A snapshot that is written slowly, while the log goes on.
        const pieces = (manager.machine.snapshot() as Iterable<Uint8Array>)[Symbol.iterator]();
        pending.push({ pieces, taken: [], hash: hashState(state), index: state.index });
        break;
      }
      case 3: {
        const next = new Manager();
        const chunks = cut(manager.machine.snapshot() as Iterable<Uint8Array>, random);
        await next.machine.restore({ kind: "snapshot", index: at, chunks });
        next.told.push(...manager.told);
        expect(hashState(next.state)).to.equal(hashState(state));
        manager = next;
        break;
      }
      default:
    }
    for (const { pieces, taken } of pending) {
      const piece = pieces.next();
      if (!piece.done) taken.push(piece.value);
    }
  }
  for (const { pieces, taken, hash, index } of pending) {
    for (let piece = pieces.next(); !piece.done; piece = pieces.next()) taken.push(piece.value);
    const copy = createState();
    copy.restore(index, taken);
    expect(hashState(copy), "a snapshot is of the moment at which it was asked for").to.equal(hash);
  }
  return manager;
};

describe("the same log on different managers", () => {
  it("gives the same objects, events and refusals, in any batches, with anything between them, across snapshots", async () => {
    let refused = 0;
    await fc.assert(
      fc.asyncProperty(steps, fc.nat(), async (sequence, seed) => {
        const log = logOf(sequence);
        const reference = new Manager();
        for (let i = 0; i < log.length; i++) reference.apply(log, i, i + 1);
        const hash = hashState(reference.state);
        refused += log.length - reference.told.length;
        for (let schedule = 0; schedule < 3; schedule++) {
          const manager = await serve(log, seededRandom(seed + schedule));
          expect(hashState(manager.state)).to.equal(hash);
          expect(manager.told).to.deep.equal(reference.told);
          for (const { index, digest } of manager.state.digests())
            expect(reference.state.digests().find((d) => d.index === index)?.digest, `at ${index}`).to.equal(digest);
          // What was applied is remembered alike.
          const both = [...log, ...log];
          const twice = new Manager();
          twice.apply(both, 0, both.length);
          manager.apply(both, log.length, both.length);
          expect(hashState(manager.state)).to.equal(hashState(twice.state));
          expect(manager.told).to.deep.equal(twice.told);
        }
      }),
      { numRuns: 120 },
    );
    expect(refused).to.be.greaterThan(20);
  });

  it("one object more, less or other is another hash", () => {
    const log = logOf(Array.from({ length: 30 }, (_, seed) => ({ kind: "write", seed })));
    const { state } = (() => {
      const manager = new Manager();
      manager.apply(log, 0, log.length);
      return manager;
    })();
    const hash = hashState(state);
    const task = Task.fromPartial({ id: "new" });
    const tx = state.begin();
    tx.put("task", task);
    state.apply(state.index + 1, { id: "put", time: 1, changes: tx.changes() });
    const more = hashState(state);
    const change = state.begin();
    change.put("task", { ...state.get("task", "new")!, slot: 1 });
    state.apply(state.index + 1, { id: "change", time: 1, changes: change.changes() });
    const other = hashState(state);
    const removal = state.begin();
    removal.delete("task", "new");
    state.apply(state.index + 1, { id: "remove", time: 1, changes: removal.changes() });
    expect(new Set([hash, more, other]).size).to.equal(3);
    expect(hashState(state)).to.equal(hash);
  });
});
