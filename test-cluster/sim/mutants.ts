// Deliberately broken variants of the code under test, put in from outside. A simulator that does not find them is worth
// nothing. Each returns how to take it out again.
import { Core } from "#control-plane/raft/core.ts";
import { RaftLog } from "#control-plane/raft/log.ts";
import { Progress } from "#control-plane/raft/progress.ts";
import type { MessageBody } from "#control-plane/raft/types.ts";
import type { Disk } from "#control-plane/raft-host/disk.ts";
import type { FaultMix } from "#test-cluster/sim/fault-mix.ts";

export type Mutant = {
  readonly name: string;
  /** Returns the undoing. */
  readonly breakCode?: () => () => void;
  readonly wrapDisk?: (disk: Disk) => Disk;
  /** Makes the faults frequent that a rare one needs. */
  readonly faults?: Partial<FaultMix>;
};

const replace = <T extends object, K extends keyof T>(target: T, key: K, make: (original: T[K]) => T[K]) => {
  const original = target[key];
  target[key] = make(original);
  return () => {
    target[key] = original;
  };
};

type Send = (this: Core, to: number, body: MessageBody, term?: number) => void;
const replaceSend = (send: (core: Core, original: Send, to: number, body: MessageBody, term?: number) => void) => () =>
  replace(Core.prototype, "send", (original) => {
    return function (this: Core, to, body, term) {
      send(this, original, to, body, term);
    };
  });

/** Grants are counted, whoever they come from. */
class VotesByMessage extends Map<number, boolean> {
  #granted = 0;
  #core: Core;

  constructor(core: Core) {
    super();
    this.#core = core;
  }

  override has(): boolean {
    return false;
  }

  override set(id: number, granted: boolean): this {
    if (granted) this.#granted++;
    return granted ? this : super.set(id, granted);
  }

  override get(id: number): boolean | undefined {
    return this.#core.conf.voters.indexOf(id) < this.#granted ? true : super.get(id);
  }
}

export const mutants: readonly Mutant[] = [
  {
    name: "votes without comparing the logs",
    breakCode: () => replace(RaftLog.prototype, "isUpToDate", () => () => true),
  },
  {
    name: "counts votes by message",
    breakCode: () =>
      replace(Core.prototype, "resetRole", (original) => {
        return function (this: Core, term) {
          original.call(this, term);
          this.votes = new VotesByMessage(this);
        };
      }),
  },
  {
    name: "votes twice in a term",
    breakCode: replaceSend((core, original, to, body, term) => {
      const grant = body.kind === "vote-response" && core.role !== "leader" ? { ...body, reject: false } : body;
      original.call(core, to, grant, term);
    }),
  },
  {
    name: "answers before the disk has it",
    breakCode: replaceSend((core, _original, to, body, term) => {
      core.messages.push({ from: core.id, to, term: term ?? core.term, ...body });
    }),
  },
  {
    name: "commits entries of older terms by counting",
    breakCode: () =>
      replace(RaftLog.prototype, "commitCounted", () => {
        return function (this: RaftLog, index) {
          if (index <= this.committed) return false;
          this.committed = index;
          return true;
        };
      }),
  },
  {
    name: "truncates without a conflict",
    breakCode: () =>
      replace(RaftLog.prototype, "acceptAppend", (original) => {
        return function (this: RaftLog, prevIndex, prevTerm, entries) {
          const last = entries.at(-1);
          if (this.term(prevIndex) === prevTerm && last !== undefined && last.index > this.committed) {
            original.call(this, prevIndex, prevTerm, [...entries.slice(0, -1), { ...last, term: -1 }]);
          }
          return original.call(this, prevIndex, prevTerm, entries);
        };
      }),
  },
  {
    name: "forgets its vote at a restart",
    breakCode: () =>
      replace(Core.prototype, "restartElectionTimer", (original) => {
        return function (this: Core) {
          // Only the constructor comes here with no timeout set yet.
          if (this.electionTimeout === 0) this.vote = 0;
          original.call(this);
        };
      }),
  },
  {
    name: "takes what is in memory for written when an older write ends",
    faults: { crashEvery: 500, downMs: 20, slowSyncRate: 1, slowSyncMs: 300, aimAtLeader: 0.8 },
    breakCode: () =>
      replace(RaftLog.prototype, "stabilized", () => {
        return function (this: RaftLog) {
          this.stable = this.lastIndex;
        };
      }),
  },
  {
    name: "takes a rejection for an acceptance",
    breakCode: () =>
      replace(Progress.prototype, "rejected", (original) => {
        return function (this: Progress, rejected, hint) {
          this.match = Math.max(this.match, rejected);
          return original.call(this, rejected, hint);
        };
      }),
  },
  {
    name: "does not sync folders",
    wrapDisk: (disk) => ({ ...disk, syncDirectory: () => {} }),
  },
  {
    name: "takes a begun sync for a finished one",
    wrapDisk: (disk) => ({
      ...disk,
      open: (file, mode) => ({ ...disk.open(file, mode), sync: async () => {} }),
    }),
  },
];
