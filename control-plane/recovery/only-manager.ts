// A state as a cluster of one manager begins with it: its node is the manager, the others' are workers.
import { refuse } from "#base/errors.ts";
import type { State, Tx, WriteContext } from "#control-plane/state/types.ts";
import { Command } from "#proto/gen/store.ts";
import { type Node, NodeRole } from "#proto/gen/types.ts";

/**
 * The cluster went on after what is known here (the backup, or the log of a manager that was behind), nobody knows for how
 * long, and versions of objects are indexes of the log. Whoever has seen one must not meet it again with something else in
 * it: 55 hours of 5,000 changes a second are left out.
 */
export const INDEX_GAP = 1_000_000_000;

/**
 * Makes workers of all other managers, and returns them. Their nodes stay: an agent that is still there goes on with what
 * runs on it, and one that is not is found to be down and its tasks are replaced, as for every node.
 */
export const becomeOnlyManager = (tx: Tx, nodeId: string): Node[] => {
  const own = tx.get("node", nodeId);
  if (own?.spec === undefined)
    throw refuse("conflict", "node", `${nodeId} is not a node of this cluster`, "Restore a backup on it instead");
  if (own.spec.role !== NodeRole.MANAGER) tx.put("node", { ...own, spec: { ...own.spec, role: NodeRole.MANAGER } });
  const others = [...tx.all("node")].filter((n) => n.id !== nodeId && n.spec?.role === NodeRole.MANAGER);
  for (const node of others) tx.put("node", { ...node, spec: { ...node.spec!, role: NodeRole.WORKER } });
  return others;
};

/** Applies what `change` writes as the command of that index, without a log. */
export const rewrite = <T>(
  state: State,
  index: number,
  context: WriteContext,
  change: (tx: Tx, context: WriteContext) => T,
): T => {
  const tx = state.begin();
  const value = change(tx, context);
  const command = Command.fromPartial({ id: context.newId(), time: context.now, changes: tx.changes() });
  const result = state.apply(index, command);
  if (!result.ok) throw refuse("internal", `${result.table} ${result.id}`, result.reason, "Report it");
  return value;
};
