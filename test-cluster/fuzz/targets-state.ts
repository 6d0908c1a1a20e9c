// Decoders of the state and of what is kept of it: commands, snapshots, backups, a node's view, files of a manager.

import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { realClock } from "#base/node/system.ts";
import { seededRandom } from "#base/random.ts";
import { newUnlockKey } from "#base/unlock-key.ts";
import { contentsOf } from "#control-plane/backup/contents.ts";
import { decodeBackup, encodeBackup, openBackup } from "#control-plane/backup/format.ts";
import { createReplicatedState } from "#control-plane/manager/replicated-state.ts";
import { SALT_BYTES } from "#control-plane/raft-host/keys.ts";
import { CLUSTER, oldState } from "#control-plane/recovery/old-manager.ts";
import { createState } from "#control-plane/state/state.ts";
import { SnapshotChunk } from "#proto/gen/store.ts";
import type { Target } from "#test-cluster/fuzz/target.ts";

const fixtures = resolve(import.meta.dirname, "../../control-plane/state/testdata/format-1");
const snapshot = readFileSync(join(fixtures, "snapshot.bin"));
const commands = readFileSync(join(fixtures, "commands.txt"), "utf8")
  .trim()
  .split("\n")
  .map((line) => Buffer.from(line.split(" ")[2]!, "hex"));

const about = { clusterId: CLUSTER, createdAt: 1, index: 10, version: "0.1.0", raftIds: [1] };
const unlockKey = newUnlockKey(seededRandom(1));
const backups = [undefined, { unlockKey, salt: Buffer.alloc(SALT_BYTES, 1) }].map((lock) =>
  Buffer.concat([...encodeBackup(about, oldState().snapshot(), lock)]),
);
async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}
const readBackup = async (bytes: Uint8Array): Promise<unknown> =>
  contentsOf(openBackup(await decodeBackup(once(bytes)), unlockKey));

export const stateTargets: readonly Target[] = [
  {
    name: "command",
    open: async () => ({
      samples: commands,
      run: (input) => {
        const { machine } = createReplicatedState(createState(), realClock, seededRandom(1));
        const apply = (data: Uint8Array, index: number) => machine.apply([{ kind: "entry", index, term: 1, data }]);
        // On objects that it may change, then whatever it made must be readable.
        for (const [i, data] of commands.slice(0, 3).entries()) apply(data, i + 1);
        apply(input, 4);
        createState().restore(4, machine.snapshot() as Iterable<Uint8Array>);
      },
    }),
  },
  {
    name: "snapshot of the state",
    weight: 2,
    open: async () => ({
      samples: [snapshot, Buffer.concat([...oldState().snapshot()])],
      run: (input) => {
        const state = createState();
        state.restore(1, [input.subarray(0, 100), input.subarray(100)]);
        for (const _ of state.snapshot());
      },
    }),
  },
  {
    name: "chunk of a snapshot",
    open: async () => ({
      samples: [
        SnapshotChunk.encode(SnapshotChunk.fromPartial({ chunk: { $case: "header", value: { format: 1 } } })).finish(),
      ],
      run: (input) => createState().restore(1, [Buffer.from([input.length & 127]), input.subarray(0, 127)]),
    }),
  },
  { name: "backup", open: async () => ({ samples: backups, run: readBackup }) },
  {
    name: "backup with a right checksum",
    open: async () => ({
      samples: backups.map((backup) => backup.subarray(0, -32)),
      run: (input) => readBackup(Buffer.concat([input, createHash("sha256").update(input).digest()])),
    }),
  },
];
