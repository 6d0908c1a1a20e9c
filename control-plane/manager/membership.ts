// Keeps raft's members equal to the nodes' roles: a node that is demoted or removed leaves the quorum first, and only then
// loses its certificate. Agents are told whenever the managers change.
import type { Logger } from "#base/log.ts";
import type { Dispatcher } from "#control-plane/dispatcher/dispatcher.ts";
import type { ReplicatedLog } from "#control-plane/log/log.ts";
import type { LeaderDuty } from "#control-plane/manager/leadership.ts";
import type { State } from "#control-plane/state/types.ts";
import { NodeRole } from "#proto/gen/types.ts";

export const managerMembership = (
  log: ReplicatedLog,
  state: State,
  dispatcher: Dispatcher,
  logger: Logger,
): LeaderDuty => {
  let unwatch: (() => void)[] = [];
  let working = false;
  const reconcile = async (): Promise<void> => {
    if (working) return;
    working = true;
    try {
      for (const member of log.status().members) {
        const node = state.get("node", member.nodeId);
        if (node?.spec?.role === NodeRole.MANAGER) continue;
        // A member that joined before its node object is seen here would be a bug: nodes are registered before they join.
        logger.info("manager leaves the quorum", { node: member.nodeId, raftId: member.raftId });
        if (member.leader) await log.transferLeadership();
        else await log.removeMember(member.raftId);
      }
    } catch (error) {
      logger.warn("membership not reconciled", { error });
    } finally {
      working = false;
    }
  };
  return {
    start() {
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
      for (const stop of unwatch) stop();
      unwatch = [];
    },
  };
};
