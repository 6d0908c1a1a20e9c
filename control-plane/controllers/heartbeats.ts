// Which nodes are alive, by the heartbeats of their sessions. Kept by the leader in memory: a new leader knows of no
// session yet and gives every node that was up some time to show up before it takes silence for death.
import type { Clock } from "#base/clock.ts";

/** Silent for so many periods: down. */
const MISSED_PERIODS = 3;
/**
 * The host of the leader before this one has been silent for an election already, and its agent has the shortest way to the
 * news: a manager that dies, or leads no more, ends the agent's session at once, and one that hangs is left after two
 * periods without an answer, which began before the election.
 */
const FORMER_LEADER_PERIODS = 2;
/** Nobody has led since this manager started: perhaps all hosts start, each at its own speed. */
const START_PERIODS = 6;
/** A timer that is later than this share of a period: this process itself stood still, and what nodes said waits unread. */
const STALLED_PERIODS = 0.25;

export type Heartbeats = {
  /** A session began or a message of it arrived. */
  beat(nodeId: string): void;
  /**
   * For a new leader: these nodes count as up and must show up in time. Known ones stay as they are. `formerLeader` is the
   * node that led before, "" when it is not known which, undefined when nobody has led since this manager started.
   */
  expect(nodeIds: Iterable<string>, formerLeader: string | undefined): void;
  /** The node was removed. */
  forget(nodeId: string): void;
  stop(): void;
};

export type HeartbeatOptions = {
  readonly clock: Clock;
  /** Asked at each beat: the cluster's setting may change. */
  periodMs(): number;
  /** Once for each silence; a later beat begins anew. An ended session is no death: the agent may come back. */
  onSilent(nodeId: string, silentMs: number): void;
};

export const createHeartbeats = ({ clock, periodMs, onSilent }: HeartbeatOptions): Heartbeats => {
  const deadlines = new Map<string, { readonly at: number; readonly heardAt: number }>();
  let cancel: (() => void) | undefined;
  let firesAt = Number.POSITIVE_INFINITY;

  const check = (): void => {
    cancel = undefined;
    const now = clock.monotonic();
    const stalled = now - firesAt > STALLED_PERIODS * periodMs();
    firesAt = Number.POSITIVE_INFINITY;
    const due = [...deadlines].filter(([, { at }]) => at <= now);
    // One more period to be heard in: sessions that ended meanwhile begin anew.
    if (stalled) for (const [nodeId, { heardAt }] of due) deadlines.set(nodeId, { at: now + periodMs(), heardAt });
    const silent = stalled ? [] : due;
    for (const [nodeId] of silent) deadlines.delete(nodeId);
    for (const { at } of deadlines.values()) firesAt = Math.min(firesAt, at);
    if (firesAt !== Number.POSITIVE_INFINITY) cancel = clock.after(firesAt - now, check);
    for (const [nodeId, { heardAt }] of silent) onSilent(nodeId, now - heardAt);
  };

  const extend = (nodeId: string, periods: number): void => {
    const heardAt = clock.monotonic();
    const at = heardAt + periods * periodMs();
    deadlines.set(nodeId, { at, heardAt });
    // A timer that fires too early finds nothing and is set again: no timer is moved by a heartbeat.
    if (at >= firesAt) return;
    cancel?.();
    firesAt = at;
    cancel = clock.after(at - heardAt, check);
  };

  return {
    beat: (nodeId) => extend(nodeId, MISSED_PERIODS),
    expect: (nodeIds, formerLeader) => {
      const periods = formerLeader === undefined ? START_PERIODS : MISSED_PERIODS;
      for (const nodeId of nodeIds)
        if (!deadlines.has(nodeId)) extend(nodeId, nodeId === formerLeader ? FORMER_LEADER_PERIODS : periods);
    },
    forget: (nodeId) => {
      deadlines.delete(nodeId);
    },
    stop: () => {
      cancel?.();
      cancel = undefined;
      deadlines.clear();
      firesAt = Number.POSITIVE_INFINITY;
    },
  };
};
