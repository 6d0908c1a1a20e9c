// The snapshots of one member: the newest in use, the one before as a fallback, and one that arrives.
import { TswarmError } from "#base/errors.ts";
import type { SnapshotMeta } from "#control-plane/raft/types.ts";
import type { Disk } from "#control-plane/raft-host/disk.ts";
import type { DataKeys } from "#control-plane/raft-host/keys.ts";
import type { MemberFiles } from "#control-plane/raft-host/member-files.ts";
import {
  adoptSnapshot,
  readSnapshot,
  removeOldSnapshots,
  streamSnapshot,
  writeSnapshot,
} from "#control-plane/raft-host/snapshot-file.ts";
import { IncomingSnapshot, type SnapshotId } from "#control-plane/raft-host/snapshot-incoming.ts";
import type { SnapshotHeader } from "#control-plane/raft-host/snapshot-stream.ts";
import type { SnapshotPieces } from "#control-plane/raft-host/transport.ts";

export type Received = { readonly tmp: string; readonly meta: SnapshotMeta; readonly peers: Uint8Array };
type Current = { readonly file: string; readonly meta: SnapshotMeta; readonly bytes: number };

export class Snapshots {
  current: Current | null;
  #previousIndex = 0;
  #disk: Disk;
  #dir: string;
  #clusterId: string;
  #keys: DataKeys;
  #incoming: IncomingSnapshot | null = null;

  constructor(disk: Disk, files: MemberFiles) {
    this.#disk = disk;
    this.#dir = files.snapDir;
    this.#clusterId = files.clusterId;
    this.#keys = files.keys;
    if (files.snapshot === null) this.current = null;
    else this.current = this.#inUse(files.snapshot.file, files.snapshot.header.meta);
  }

  #inUse(file: string, meta: SnapshotMeta): Current {
    return { file, meta, bytes: this.#disk.size(file) };
  }

  get index(): number {
    return this.current?.meta.index ?? 0;
  }

  /** The log must keep the entries after this index, so that the fallback can be used. */
  get fallbackIndex(): number {
    return this.#previousIndex;
  }

  /** Writes the captured state. The result is not used before `use`. */
  write(meta: SnapshotMeta, peers: Uint8Array, chunks: Iterable<Uint8Array>): Promise<string> {
    return writeSnapshot(this.#disk, this.#dir, { clusterId: this.#clusterId, meta, peers }, chunks, this.#keys);
  }

  use(file: string, meta: SnapshotMeta): void {
    this.#previousIndex = this.index;
    this.current = this.#inUse(file, meta);
    if (this.#incoming !== null && this.#incoming.id.index <= meta.index) this.#incoming.abort();
    removeOldSnapshots(this.#disk, this.#dir);
  }

  chunks(): AsyncIterable<Uint8Array> {
    return readSnapshot(this.#disk, this.current!.file, this.#keys);
  }

  /** The newest one as it goes over the network. */
  pieces(): SnapshotPieces {
    const { file } = this.current!;
    return (offset) => withoutFirst(streamSnapshot(this.#disk, file, this.#keys, 256 << 10), offset);
  }

  /** One arrives at a time: another one takes the place of what has not come completely. */
  begin(
    id: SnapshotId,
    resumes: boolean,
  ): { offset: number; receive(pieces: AsyncIterable<Uint8Array>): Promise<Received> } {
    const present = this.#incoming;
    const goesOn =
      resumes && present?.id.from === id.from && present.id.index === id.index && present.id.term === id.term;
    if (!goesOn) present?.abort();
    const incoming = goesOn ? present : new IncomingSnapshot(this.#disk, this.#dir, id, this.#keys);
    this.#incoming = incoming;
    const over = () => {
      if (this.#incoming === incoming) this.#incoming = null;
    };
    incoming.file.then(over, over);
    const take = incoming.connect();
    return {
      offset: incoming.offset,
      receive: async (pieces) => {
        await take(pieces);
        return this.#checked(await incoming.file);
      },
    };
  }

  #checked({ tmp, header }: { readonly tmp: string; readonly header: SnapshotHeader }): Received {
    if (header.clusterId !== this.#clusterId) {
      this.#disk.remove(tmp);
      throw new TswarmError("forbidden", "a snapshot of another cluster");
    }
    return { tmp, meta: header.meta, peers: header.peers };
  }

  discard(received: Received): void {
    this.#disk.remove(received.tmp);
  }

  /** The older ones are of no use any more: the log between them and this one does not exist here. */
  adopt(received: Received): void {
    this.use(adoptSnapshot(this.#disk, this.#dir, received.tmp, received.meta), received.meta);
  }
}

async function* withoutFirst(pieces: AsyncIterable<Uint8Array>, count: number): AsyncGenerator<Uint8Array> {
  let skip = count;
  for await (const piece of pieces) {
    if (skip < piece.length) yield piece.subarray(skip);
    skip = Math.max(0, skip - piece.length);
  }
}
