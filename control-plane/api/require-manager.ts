// Who may use the Control API over the network: managers. A certificate lives for months and a role may end any time, so
// the node's object counts as well.
import { refuse } from "#base/errors.ts";
import type { ReadTx } from "#control-plane/state/types.ts";
import { NodeRole } from "#proto/gen/types.ts";
import type { Peer, RpcContext } from "#proto/rpc/server.ts";

const reasonAgainst = (state: ReadTx, peer: Peer | undefined, clusterId: string, method: string): string => {
  if (!peer || peer.clusterId !== clusterId) return `${method} needs a certificate of this cluster`;
  if (peer.role !== "manager") return `${peer.nodeId} is a worker, and ${method} is for managers`;
  // A manager that has just started has no state yet; the leader, to whom it passes the call on, has.
  if (state.cluster() && state.get("node", peer.nodeId)?.spec?.role !== NodeRole.MANAGER)
    return `${peer.nodeId} is no manager of this cluster any more`;
  return "";
};

/** A guard for `addService`. */
export const managersOnly =
  (state: ReadTx, clusterId: string) =>
  (method: string, { peer }: Pick<RpcContext, "peer">): void => {
    const reason = reasonAgainst(state, peer, clusterId, method);
    if (reason !== "")
      throw refuse("forbidden", "node", reason, "Run the command on a manager: see `tsctl node ls` there");
  };
