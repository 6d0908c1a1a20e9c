// What runs only on the leader, from the moment at which it has applied everything before its term until it leads no more.
import type { Logger } from "#base/log.ts";
import type { LogStatus, ReplicatedLog } from "#control-plane/log/log.ts";

export type LeaderDuty = { start(): void | Promise<void>; stop(leaderAddr: string): void };

export type Leadership = {
  /** This manager leads and its duties run. */
  readonly leading: () => boolean;
  /** host:port of the leader; "" while nobody is known to lead. */
  readonly leaderAddr: () => string;
  /** Resolves with the status once somebody leads (this manager: with its duties running), or after `timeoutMs`. */
  settled(timeoutMs: number): Promise<void>;
  stop(): void;
};

export const followLeadership = (log: ReplicatedLog, duties: readonly LeaderDuty[], logger: Logger): Leadership => {
  let term = 0;
  let leading = false;
  let status: LogStatus = log.status();
  let waiters: (() => void)[] = [];
  const leaderAddr = () => status.members.find((m) => m.raftId === status.leaderId)?.addr ?? "";
  const known = () => leading || (!status.isLeader && leaderAddr() !== "");

  const wake = () => {
    if (!known()) return;
    for (const waiter of waiters) waiter();
    waiters = [];
  };

  const begin = async (began: number): Promise<void> => {
    try {
      // The state may lack entries of former terms until an entry of this term is applied.
      await log.readBarrier();
      if (term !== began) return;
      for (const duty of duties) await duty.start();
      leading = true;
      logger.info("leading", { term: began });
      wake();
    } catch (error) {
      if (term === began) logger.warn("leadership did not begin", { term: began, error });
    }
  };

  const end = (): void => {
    term = 0;
    if (!leading) return;
    leading = false;
    logger.info("leading no more", { leader: leaderAddr() });
    for (const duty of duties) duty.stop(leaderAddr());
  };

  const unsubscribe = log.onStatus((next) => {
    status = next;
    if (next.isLeader && term !== next.term) {
      end();
      term = next.term;
      void begin(next.term);
    } else if (!next.isLeader) end();
    wake();
  });

  return {
    leading: () => leading,
    leaderAddr,
    settled: (timeoutMs) =>
      known()
        ? Promise.resolve()
        : new Promise((resolve) => {
            const timer = setTimeout(resolve, timeoutMs);
            waiters.push(() => {
              clearTimeout(timer);
              resolve();
            });
          }),
    stop() {
      unsubscribe();
      end();
    },
  };
};
