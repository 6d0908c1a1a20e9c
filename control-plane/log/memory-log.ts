// A log of one member in memory, for tests: what it is told to do wrong it does wrong.
import { TswarmError } from "#base/errors.ts";
import type { LogMember, LogStatus, ReplicatedLog, StateMachine } from "#control-plane/log/log.ts";

export type MemoryLog = ReplicatedLog & {
  readonly entries: Uint8Array[];
  /** Members that were removed, and calls of transferLeadership. */
  readonly changes: string[];
  /** The next proposal fails: before it is committed, or after (its outcome is then unknown to the proposer). */
  failNext(when: "before" | "after", error: TswarmError): void;
  /** What happens between the proposal and its commit. */
  beforeCommit(work: () => void): void;
  /** Barriers and changes of members fail so many times. */
  refuse(times: number): void;
  become(status: Partial<LogStatus>): void;
};

export const member = (raftId: number, nodeId: string, more: Partial<LogMember> = {}): LogMember => ({
  ...{ raftId, nodeId, addr: `${nodeId}:2377`, voter: true, leader: raftId === 1, reachable: true, match: 0 },
  ...more,
});

export const createMemoryLog = (machine: StateMachine): MemoryLog => {
  const entries: Uint8Array[] = [];
  const changes: string[] = [];
  const listeners = new Set<(status: LogStatus) => void>();
  let failure: { readonly when: "before" | "after"; readonly error: TswarmError } | undefined;
  let between: (() => void) | undefined;
  let refusals = 0;
  let status: LogStatus = {
    ...{ raftId: 1, term: 1, leaderId: 1, isLeader: true, commit: 0, applied: 0 },
    members: [member(1, "node1")],
  };
  const become = (next: Partial<LogStatus>): void => {
    status = { ...status, ...next };
    for (const listener of [...listeners]) listener(status);
  };
  const allowed = async (): Promise<void> => {
    if (refusals > 0) {
      refusals--;
      throw new TswarmError("unavailable", "no quorum for a moment");
    }
  };
  return {
    entries,
    changes,
    become,
    failNext: (when, error) => {
      failure = { when, error };
    },
    beforeCommit: (work) => {
      between = work;
    },
    refuse: (times) => {
      refusals = times;
    },
    async propose(data) {
      const failing = failure;
      failure = undefined;
      if (failing?.when === "before") throw failing.error;
      const work = between;
      between = undefined;
      work?.();
      const index = entries.push(data);
      machine.apply([{ kind: "entry", index, term: status.term, data }]);
      if (failing) throw failing.error;
      return index;
    },
    readBarrier: allowed,
    status: () => status,
    health: () => ({
      ...{
        problem: "",
        sync: null,
        snapshot: null,
        firstIndex: 1,
        lastIndex: entries.length,
        pending: 0,
        heard: new Map(),
      },
      role: status.isLeader ? "leader" : "follower",
      raftIds: status.members.map((m) => m.raftId),
    }),
    onStatus(listener) {
      listeners.add(listener);
      listener(status);
      return () => listeners.delete(listener);
    },
    async addMember(nodeId, addr) {
      const raftId = Math.max(...status.members.map((m) => m.raftId)) + 1;
      become({ members: [...status.members, member(raftId, nodeId, { addr })] });
      return raftId;
    },
    async removeMember(raftId) {
      await allowed();
      changes.push(`remove ${raftId}`);
      become({ members: status.members.filter((m) => m.raftId !== raftId) });
    },
    async transferLeadership() {
      await allowed();
      changes.push("transfer");
    },
    async stop() {},
  };
};
