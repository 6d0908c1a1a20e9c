// What was committed, applied once in order beside the managers: the state that the rules look at, and its whole history.
import { crc32 } from "node:zlib";
import type { StateMachine } from "#control-plane/log/log.ts";
import { createState } from "#control-plane/state/state.ts";
import type { State, StateBatch, StateEvent } from "#control-plane/state/types.ts";
import { Command } from "#proto/gen/store.ts";

export type Commit = { readonly command: Command; readonly batch: StateBatch };
type Entry = Parameters<StateMachine["apply"]>[0][number];

export const versionOf = (event: StateEvent): string =>
  `${event.action} ${event.table}/${event.object.id}@${event.action === "remove" ? "" : event.object.meta?.version}`;

export class Reference {
  readonly state: State = createState();
  /** What each command that changed something has changed, by version. */
  readonly history = new Map<number, readonly string[]>();
  /** Every object that ever was: `table/id@version`. */
  readonly known = new Set<string>();
  readonly #entries = new Map<number, number>();
  readonly #onCommit: (commit: Commit) => void;
  readonly #violate: (property: string, detail: string) => void;
  #command: Command | undefined;

  constructor(onCommit: (commit: Commit) => void, violate: (property: string, detail: string) => void) {
    this.#onCommit = onCommit;
    this.#violate = violate;
    this.state.watch((batch) => {
      this.history.set(batch.index, batch.events.map(versionOf));
      for (const { table, object } of batch.events) this.known.add(`${table}/${object.id}@${object.meta?.version}`);
      this.#onCommit({ command: this.#command!, batch });
    });
  }

  /** Some manager applies this entry. */
  applied(who: string, { index, data }: Entry): void {
    const sum = crc32(data);
    const known = this.#entries.get(index);
    if (known !== undefined && known !== sum) this.#violate("all apply the same", `${who} has another entry ${index}`);
    if (known !== undefined) return;
    this.#entries.set(index, sum);
    if (index <= this.state.index) {
      this.#violate(
        "all apply the same",
        `${who} applies ${index}, which nobody has applied before ${this.state.index}`,
      );
      return;
    }
    this.#command = Command.decode(data);
    this.state.apply(index, this.#command);
  }
}
