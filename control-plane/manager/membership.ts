// Keeps raft's members equal to the nodes' roles: a node that is demoted or removed leaves the quorum first, and only then
// loses its certificate. Agents are told whenever the managers change.
import type { Clock } from "#base/clock.ts";
import type { Logger } from "#base/log.ts";
import type { Dispatcher } from "#control-plane/dispatcher/dispatcher.ts";
import type { ReplicatedLog } from "#control-plane/log/log.ts";
import type { LeaderDuty } from "#control-plane/manager/leadership.ts";
import type { State } from "#control-plane/state/types.ts";
import { NodeRole } from "#proto/gen/types.ts";

/** A member that could not be removed (a change of members is under way, no quorum) is removed later. */
const RETRY_MS = 2_000;

export type MembershipOptions = {
  readonly log: ReplicatedLog;
  readonly state: State;
  readonly dispatcher: Pick<Dispatcher, "announceManagers">;
  readonly clock: Clock;
  readonly logger: Logger;
};

export const managerMembership = ({ log, state, dispatcher, clock, logger }: MembershipOptions): LeaderDuty => {
  let unwatch: (() => void)[] = [];
  let leading = false;
  let working = false;
  let again = false;
  let cancelRetry: (() => void) | undefined;

  const reconcile = async (): Promise<void> => {
    again = true;
    if (working) return;
    working = true;
    try {
      while (leading && again) {
        again = false;
        await once();
      }
    } catch (error) {
      logger.warn("membership not reconciled, will try again", { error });
      cancelRetry?.();
      cancelRetry = clock.after(RETRY_MS, () => void reconcile());
    } finally {
      working = false;
    }
  };

  const once = async (): Promise<void> => {
    for (const member of log.status().members) {
      // A member without a node object would be a bug: nodes are registered before they join.
      if (state.get("node", member.nodeId)?.spec?.role === NodeRole.MANAGER) continue;
      logger.info("manager leaves the quorum", { node: member.nodeId, raftId: member.raftId });
      if (member.leader) {
        // The next leader removes this one.
        await log.transferLeadership();
        return;
      }
      await log.removeMember(member.raftId);
      if (!leading) return;
    }
  };

  return {
    start() {
      leading = true;
      let members = "";
      unwatch = [
        state.watch((batch) => {
          if (batch.events.some((e) => e.table === "node")) void reconcile();
        }),
        log.onStatus((status) => {
          const now = status.members.map((m) => `${m.nodeId} ${m.addr} ${m.leader}`).join();
          if (now !== members) dispatcher.announceManagers();
          members = now;
        }),
      ];
      void reconcile();
    },
    stop() {
      leading = false;
      cancelRetry?.();
      for (const stop of unwatch) stop();
      unwatch = [];
    },
  };
};
