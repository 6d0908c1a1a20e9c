// Which leaving tasks get no new connections any more. A task that is told to stop leaves the backends of its service in
// the same command; each node that is told so says when it has taken the backend out (`Applied`). Once all of them have, the
// task's own node is told that it is drained. A node whose session is lost still sends connections: it is waited for until
// it is back and has applied its first view, or is given up. The agent bounds the wait (TaskSpec.drain_ms). Pure.
//
// Cost: what is told anyway. The tasks of a service that leave in one command share one drain.

import type { Task } from "#proto/gen/types.ts";

/** What a node is still asked for: that it has applied its session up to `sequence`; not known while it has no session. */
type Awaited = { readonly drain: Drain; readonly sequence: number };
type Drain = { readonly tasks: readonly Task[]; readonly waiting: Set<string> };

/** Awaited of a node that has no session now. */
export const WITHOUT_SESSION = Number.POSITIVE_INFINITY;
const FIRST_SEQUENCE = 1;

export type Drains = {
  /** These tasks leave; a node of `holders` sends nothing new to them once it has applied that sequence of its session (or `WITHOUT_SESSION`). */
  begin(tasks: readonly Task[], holders: ReadonlyMap<string, number>): void;
  applied(nodeId: string, sequence: number): void;
  /** Its session is over: only the first view of its next one says what it does. */
  lost(nodeId: string): void;
  /** Its new session began with a complete view, at sequence 1. */
  opened(nodeId: string): void;
  /** It is down or removed: what it sends is of no use to anybody. */
  giveUp(nodeId: string): void;
  /** True when the task had been drained: its node can forget that. */
  ended(taskId: string): boolean;
  /** Drained tasks of this node. */
  of(nodeId: string): readonly string[];
};

/** `tell` is called once for each task that is drained before it `leaves` no more, also from within `begin`. */
export const createDrains = (
  leaves: (taskId: string) => boolean,
  tell: (nodeId: string, taskId: string) => void,
): Drains => {
  const awaited = new Map<string, Awaited[]>();
  /** Drained tasks, and their nodes. */
  const drained = new Map<string, string>();

  const settle = ({ tasks, waiting }: Drain): void => {
    if (waiting.size > 0) return;
    for (const { id, nodeId } of tasks) {
      if (!leaves(id)) continue;
      drained.set(id, nodeId);
      tell(nodeId, id);
    }
  };

  const release = (nodeId: string, done: (entry: Awaited) => boolean): void => {
    const entries = awaited.get(nodeId) ?? [];
    const left = entries.filter((entry) => !done(entry));
    if (left.length === 0) awaited.delete(nodeId);
    else awaited.set(nodeId, left);
    for (const entry of entries) {
      if (!done(entry)) continue;
      entry.drain.waiting.delete(nodeId);
      settle(entry.drain);
    }
  };

  const expectAt = (nodeId: string, sequence: number): void => {
    const entries = awaited.get(nodeId);
    if (entries !== undefined)
      awaited.set(
        nodeId,
        entries.map(({ drain }) => ({ drain, sequence })),
      );
  };

  return {
    begin(tasks, holders) {
      const drain: Drain = { tasks, waiting: new Set(holders.keys()) };
      for (const [nodeId, sequence] of holders) {
        const entries = awaited.get(nodeId);
        if (entries === undefined) awaited.set(nodeId, [{ drain, sequence }]);
        else entries.push({ drain, sequence });
      }
      settle(drain);
    },
    applied: (nodeId, sequence) => release(nodeId, (entry) => entry.sequence <= sequence),
    lost: (nodeId) => expectAt(nodeId, WITHOUT_SESSION),
    opened: (nodeId) => expectAt(nodeId, FIRST_SEQUENCE),
    giveUp: (nodeId) => release(nodeId, () => true),
    ended: (taskId) => drained.delete(taskId),
    of: (nodeId) => [...drained].filter(([, owner]) => owner === nodeId).map(([taskId]) => taskId),
  };
};
