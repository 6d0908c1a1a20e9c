// A snapshot that arrives: over one connection or, when that breaks, over several. What is here stays, and the next
// connection goes on behind it. Nothing gathers in memory: a piece is asked for when the one before is in the file.
import { TswarmError } from "#base/errors.ts";
import type { Disk } from "#control-plane/raft-host/disk.ts";
import type { DataKeys } from "#control-plane/raft-host/keys.ts";
import { receiveSnapshotFile } from "#control-plane/raft-host/snapshot-receive.ts";

/** Two members' files of one index may differ, so the sender is part of it. */
export type SnapshotId = { readonly from: number; readonly index: number; readonly term: number };

/** null: there are no more. */
type Give = (piece: Uint8Array | null) => void;

export class IncomingSnapshot {
  readonly id: SnapshotId;
  /** The complete and checked file. Rejects when what came is damaged or can't be written: then nothing of it stays. */
  readonly file: ReturnType<typeof receiveSnapshotFile>;
  /** Bytes that came so far. */
  offset = 0;
  #hungry = Promise.withResolvers<Give>();
  /** The connection that may give pieces: the newest. */
  #connection = {};

  constructor(disk: Disk, dir: string, id: SnapshotId, keys: DataKeys) {
    this.id = id;
    this.file = receiveSnapshotFile(disk, dir, id.from, this.#pieces(), keys);
    this.file.catch(() => {});
  }

  async *#pieces(): AsyncGenerator<Uint8Array> {
    for (;;) {
      const piece = await new Promise<Uint8Array | null>((give) => this.#hungry.resolve(give));
      if (piece === null) return;
      yield piece;
    }
  }

  /** A new connection takes over; the returned function takes its pieces, beginning at `offset`. */
  connect(): (pieces: AsyncIterable<Uint8Array>) => Promise<void> {
    const connection = {};
    this.#connection = connection;
    return async (pieces) => {
      for await (const piece of pieces) await this.#give(connection, piece);
      await this.#give(connection, null);
    };
  }

  async #give(connection: object, piece: Uint8Array | null): Promise<void> {
    const give = await Promise.race([this.#hungry.promise, this.file.then(() => null)]);
    if (give === null || this.#connection !== connection)
      throw new TswarmError("unavailable", "the snapshot comes over another connection, or a newer one does");
    this.#hungry = Promise.withResolvers();
    this.offset += piece?.length ?? 0;
    give(piece);
  }

  /** It is not wanted any more. */
  abort(): void {
    this.#connection = {};
    void this.#hungry.promise.then((give) => give(null));
  }
}
