// What runs only on the leader, from the moment at which it has applied everything before its term until it leads no more.
import type { Clock } from "#base/clock.ts";
import type { Logger } from "#base/log.ts";
import type { LogStatus, ReplicatedLog } from "#control-plane/log/log.ts";

/** A leader whose duties could not begin (no quorum for a moment, say) tries again after this time. */
const RETRY_MS = 500;

export type LeaderDuty = {
  /**
   * @param formerLeader node id of who led before; "" when somebody did but it is not known who, undefined when nobody has
   *   led since this process started
   */
  start(formerLeader: string | undefined): void | Promise<void>;
  stop(leaderAddr: string): void;
};

export type Leadership = {
  /** This manager leads and its duties run. */
  readonly leading: () => boolean;
  /** host:port of the leader; "" while nobody is known to lead. */
  readonly leaderAddr: () => string;
  /** Resolves with the status once somebody leads (this manager: with its duties running), or after `timeoutMs`. */
  settled(timeoutMs: number): Promise<void>;
  stop(): void;
};

export const followLeadership = (
  log: ReplicatedLog,
  duties: readonly LeaderDuty[],
  clock: Clock,
  logger: Logger,
): Leadership => {
  /** 0: this manager does not lead, or not any more. */
  let term = 0;
  let leading = false;
  let started: LeaderDuty[] = [];
  let status: LogStatus = log.status();
  /** Who leads, or led last. */
  let lastLeader: string | undefined;
  const waiters = new Set<() => void>();
  const leader = () => status.members.find((m) => m.raftId === status.leaderId);
  const leaderAddr = () => leader()?.addr ?? "";
  const known = () => leading || (!status.isLeader && leaderAddr() !== "");

  const wake = () => {
    if (!known()) return;
    for (const waiter of waiters) waiter();
    waiters.clear();
  };

  const stopDuties = (): void => {
    for (const duty of started.reverse()) duty.stop(leaderAddr());
    started = [];
  };

  const begin = async (began: number, formerLeader: string | undefined): Promise<void> => {
    try {
      // The state may lack entries of former terms until an entry of this term is applied.
      await log.readBarrier();
      for (const duty of duties) {
        if (term !== began) return;
        started.push(duty);
        await duty.start(formerLeader);
      }
      if (term !== began) return;
      leading = true;
      logger.info("leading", { term: began });
      wake();
    } catch (error) {
      if (term !== began) return;
      stopDuties();
      logger.warn("leadership did not begin, will try again", { term: began, error });
      clock.after(RETRY_MS, () => {
        if (term === began) void begin(began, formerLeader);
      });
    }
  };

  const end = (): void => {
    term = 0;
    if (leading) logger.info("leading no more", { leader: leaderAddr() });
    leading = false;
    stopDuties();
  };

  const unsubscribe = log.onStatus((next) => {
    status = next;
    if (next.isLeader && term !== next.term) {
      end();
      term = next.term;
      void begin(next.term, lastLeader);
    } else if (!next.isLeader) end();
    if (next.leaderId !== 0) lastLeader = leader()?.nodeId ?? "";
    wake();
  });

  return {
    leading: () => leading,
    leaderAddr,
    settled: (timeoutMs) =>
      known()
        ? Promise.resolve()
        : new Promise((resolve) => {
            const waiter = () => {
              cancel();
              resolve();
            };
            const cancel = clock.after(timeoutMs, () => {
              waiters.delete(waiter);
              resolve();
            });
            waiters.add(waiter);
          }),
    stop() {
      unsubscribe();
      end();
    },
  };
};
