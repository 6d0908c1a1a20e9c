// Faults in the host: the write-ahead log, snapshots, what callers are told.
import type { Edit, Mutant } from "#test-cluster/sim/mutants/mutant.ts";

const edit = (file: string, from: string, to: string): Edit => ({ file: `control-plane/raft-host/${file}`, from, to });

const disk: readonly Mutant[] = [
  {
    name: "sends what promises before it syncs",
    edits: [
      edit(
        "loop.ts",
        "this.#unsynced.push(ready);",
        "this.#unsynced.push({ ...ready, afterSync: [] });\n    this.#send(ready.afterSync);",
      ),
    ],
  },
  {
    name: "takes a begun sync for a finished one",
    edits: [edit("wal.ts", "await this.#file!.sync();", "void this.#file!.sync().catch(() => {});")],
  },
  {
    name: "does not sync the folder of the log",
    edits: [edit("wal.ts", "disk.syncDirectory(dir);\n    this.#durable = this.#end;", "this.#durable = this.#end;")],
    faults: { crashEvery: 700, segmentBytes: 4096 },
  },
  {
    name: "lets old segments go that the fallback needs",
    edits: [
      edit(
        "loop.ts",
        "files.wal.release(Math.min(index - keepEntries, snapshots.fallbackIndex));",
        "files.wal.release(this.node.status().lastIndex);",
      ),
    ],
    faults: { segmentBytes: 4096, rotEvery: 2000, snapshotEvery: 15, members: 3 },
  },
  {
    name: "does not sync the end of an old segment",
    edits: [edit("wal.ts", "old.truncate(this.#end);\n    old.syncNow();", "old.truncate(this.#end);")],
    faults: { crashEvery: 700, keyEvery: 1000, members: 3 },
  },
  {
    name: "takes damage for a torn write",
    edits: [
      edit("wal-frame.ts", 'if (frame !== undefined && frame.durable > at) return "corrupt";', ""),
      edit("wal-frame.ts", '    from = to;\n  }\n  return "corrupt";', '    from = to;\n  }\n  return "torn";'),
    ],
    faults: { rotEvery: 2000, crashEvery: 700, members: 3 },
  },
  {
    name: "takes a torn write for damage",
    edits: [edit("wal-read.ts", `if (tail === "corrupt") throw`, `if (tail !== "clean") throw`)],
  },
  {
    name: "keeps what was replaced when it reads the log",
    edits: [
      edit(
        "wal-read.ts",
        "entries.length = at;\n          entries.push(entry);",
        "if (at === entries.length) entries.push(entry);",
      ),
    ],
  },
  {
    name: "does not take the vote from the log",
    edits: [edit("wal-read.ts", "hardState = record.hardState;", "hardState = hardState ?? record.hardState;")],
  },
];

const snapshots: readonly Mutant[] = [
  {
    name: "does not sync a snapshot",
    edits: [edit("snapshot-file.ts", "seal(new Uint8Array(0));\n    await file.sync();", "seal(new Uint8Array(0));")],
    faults: { crashEvery: 700, snapshotEvery: 15, segmentBytes: 4096 },
  },
  {
    name: "does not sync the name of a snapshot",
    edits: [edit("snapshot-file.ts", "disk.rename(tmp, name);\n  disk.syncDirectory(dir);", "disk.rename(tmp, name);")],
    faults: { crashEvery: 700, snapshotEvery: 15, segmentBytes: 4096 },
  },
  {
    name: "gives a snapshot the index of what was applied while it was written",
    edits: [
      edit(
        "loop.ts",
        "const index = this.applied;\n      const meta",
        "const captured = [...stateMachine.snapshot()];\n      await new Promise((resolve) => setImmediate(resolve));\n      await files.wal.sync();\n      const index = this.applied;\n      const meta",
      ),
      edit("loop.ts", "this.#whileRunning(stateMachine.snapshot())", "this.#whileRunning(captured)"),
    ],
    faults: { snapshotEvery: 15, keepEntries: 0, crashEvery: 2000 },
  },
  {
    name: "does not begin its log anew after a received snapshot",
    edits: [
      edit(
        "loop.ts",
        `{ kind: "snapshot", index: meta.index, term: meta.term, reset: true }`,
        `{ kind: "snapshot", index: meta.index, term: meta.term, reset: false }`,
      ),
    ],
    faults: { snapshotEvery: 15, keepEntries: 0, crashEvery: 2000 },
  },
  {
    name: "has no other snapshot to send in place of a damaged one",
    edits: [edit("loop.ts", "void this.#snapshot();\n        throw error;", "throw error;")],
    faults: {
      ...{ rotEvery: 1000, snapshotEvery: 60, keepEntries: 0, members: 3, crashEvery: 0, partitionEvery: 800 },
      ...{ faultMs: 4000, aimAtLeader: 0.3, diskFaultEvery: 0, fullEvery: 0, hangUpEvery: 0 },
    },
  },
  {
    name: "applies entries while it restores a snapshot",
    edits: [edit("loop.ts", "if (this.#restoring || this.#securing) return;", "if (this.#securing) return;")],
    faults: { snapshotEvery: 15, keepEntries: 0, restoreMs: 100, crashEvery: 2000 },
  },
  {
    name: "applies entries while it restores the snapshot of its start",
    edits: [edit("loop.ts", "this.#restoring = true;", "this.#restoring = this.applied < this.#snapshots.index;")],
    faults: { snapshotEvery: 15, keepEntries: 0, restoreMs: 100, crashEvery: 2000 },
  },
];

const callers: readonly Mutant[] = [
  {
    name: "calls an unknown outcome a refusal",
    edits: [
      edit(
        "waiting.ts",
        `      waiter.reject(new TswarmError("unknown_outcome", why));`,
        `      waiter.reject(new TswarmError("unavailable", why));`,
      ),
    ],
  },
  {
    name: "acknowledges whatever comes at the index of a proposal",
    edits: [
      edit(
        "waiting.ts",
        "if (waiter.term === term) waiter.resolve(index);",
        "if (waiter.term > 0) waiter.resolve(index);",
      ),
      edit("waiting.ts", "if (waiter.term === term) continue;", "if (waiter.term > 0) continue;"),
    ],
  },
  {
    name: "acknowledges before it is committed",
    edits: [
      edit(
        "loop.ts",
        "if (result.ok) this.#waiters.add(result.index, result.term, { resolve, reject });\n      else reject(this.refusal(result.reason));\n    }\n  }",
        "if (result.ok) resolve(result.index);\n      else reject(this.refusal(result.reason));\n    }\n  }",
      ),
    ],
  },
  {
    name: "reads before the index it waited for is applied",
    edits: [
      edit(
        "waiting.ts",
        "const done = this.#answered.filter((b) => b.index <= index);",
        "const done = this.#answered.filter((b) => b.index >= 0);\n    void index;",
      ),
      edit("waiting.ts", "this.#answered = this.#answered.filter((b) => b.index > index);", "this.#answered = [];"),
    ],
  },
  {
    name: "takes the answer to a read of an earlier life",
    edits: [edit("loop.ts", "new ReadBarriers(random.int(2 ** 48))", "new ReadBarriers(1)")],
    faults: { crashEvery: 700, downMs: 20, lateRate: 0.3, lateMs: 3000, thinkMs: 100, clients: 5 },
  },
];

export const hostMutants: readonly Mutant[] = [...disk, ...snapshots, ...callers];
