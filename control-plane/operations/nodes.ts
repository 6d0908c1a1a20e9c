import { refuse } from "#base/errors.ts";
import { sameData } from "#control-plane/orchestrator/same-data.ts";
import { checkNodeSpec } from "#control-plane/specs/node.ts";
import { hasEnded } from "#control-plane/state/keys.ts";
import type { ReadTx, Tx, WriteContext } from "#control-plane/state/types.ts";
import type { TaskStatusUpdate } from "#proto/gen/dispatcher.ts";
import {
  Node,
  NodeAvailability,
  type NodeDescription,
  NodeRole,
  type NodeSpec,
  NodeState,
  NodeStatus,
  TaskState,
} from "#proto/gen/types.ts";
import { resolveNode } from "./references.ts";

export type RegisterNode = {
  readonly id: string;
  readonly hostname: string;
  readonly role: NodeRole;
  readonly addr: string;
};

/** A node that joins, or joins again with the same id: its spec stays then. `addr`: as other nodes reach it. */
export const registerNode = (tx: Tx, ctx: WriteContext, input: RegisterNode): Node => {
  const known = tx.get("node", input.id);
  const fresh = Node.fromPartial({
    id: input.id,
    spec: { annotations: { name: "" }, role: input.role, availability: NodeAvailability.ACTIVE },
    description: { hostname: input.hostname },
    status: { state: NodeState.NODE_STATE_UNKNOWN, message: "has joined, no session yet", since: ctx.now },
  });
  const base = known ?? fresh;
  const node: Node = { ...base, status: { ...NodeStatus.fromPartial({}), ...base.status, addr: input.addr } };
  tx.put("node", node);
  return node;
};

const stateOf = (node: Node): NodeState => node.status?.state ?? NodeState.NODE_STATE_UNKNOWN;

/** A session begins (with description and address) or the description changes during it. The node is ready then. */
export const applyNodeSession = (
  tx: Tx,
  ctx: WriteContext,
  nodeId: string,
  session: { readonly description: NodeDescription | undefined; readonly addr: string | undefined },
): Node => {
  const node = resolveNode(tx, nodeId);
  const since = stateOf(node) === NodeState.NODE_READY ? (node.status?.since ?? ctx.now) : ctx.now;
  const addr = session.addr || (node.status?.addr ?? "");
  const status = { state: NodeState.NODE_READY, message: "", addr, since };
  const next = { ...node, description: session.description ?? node.description, status };
  if (!sameData(next, node)) tx.put("node", next);
  return next;
};

/** What the dispatcher concludes about a node. Writes nothing when it is so already. */
export const setNodeState = (tx: Tx, ctx: WriteContext, nodeId: string, state: NodeState, message: string): void => {
  const node = tx.get("node", nodeId);
  if (node === undefined || stateOf(node) === state) return;
  tx.put("node", { ...node, status: { addr: "", ...node.status, state, message, since: ctx.now } });
};

/** What an agent says about its tasks. States only grow; tasks of other nodes and tasks that are gone are passed over. */
export const applyTaskStatuses = (
  tx: Tx,
  _ctx: WriteContext,
  nodeId: string,
  updates: readonly TaskStatusUpdate[],
): void => {
  for (const { taskId, status } of updates) {
    const task = tx.get("task", taskId);
    if (task === undefined || task.nodeId !== nodeId || status === undefined) continue;
    const known = task.status?.state ?? TaskState.TASK_NEW;
    if (status.state < known || (status.state === known && hasEnded(task))) continue;
    if (sameData(status, task.status)) continue;
    tx.put("task", { ...task, status });
  }
};

const managersOf = (tx: ReadTx): Node[] => [...tx.all("node")].filter((n) => n.spec?.role === NodeRole.MANAGER);

/** Throws TswarmError: not_found, stale_version, invalid, conflict (the last manager stays one). */
export const updateNode = (
  tx: Tx,
  _ctx: WriteContext,
  input: { readonly id: string; readonly version: number; readonly spec: NodeSpec | undefined },
): Node => {
  const node = resolveNode(tx, input.id);
  checkVersion("node", node.meta?.version ?? 0, input.version);
  const spec = checkNodeSpec(input.spec);
  const demoted = node.spec?.role === NodeRole.MANAGER && spec.role === NodeRole.WORKER;
  if (demoted && managersOf(tx).length === 1)
    throw refuse("conflict", "role", "it is the last manager", "Promote another node first (tsctl node promote NODE)");
  const name = spec.annotations?.name ?? "";
  const other = [...tx.all("node")].find((n) => n.id !== node.id && name !== "" && n.spec?.annotations?.name === name);
  if (other !== undefined)
    throw refuse("name_conflict", "annotations.name", `node ${other.id} has the name ${name}`, "Choose another name");
  const next = { ...node, spec };
  tx.put("node", next);
  return next;
};

/** Every update names the version that it was made from, so that nobody overwrites what they have not seen. */
export const checkVersion = (kind: string, current: number, given: number): void => {
  if (current === given) return;
  throw refuse(
    "stale_version",
    "version",
    `the ${kind} has changed since it was read (now version ${current}, the update was made from ${given})`,
    "Read it again and repeat the change",
  );
};

/**
 * Removes a node that is down and not a manager; `force` takes one that is still ready, and a manager that has registered
 * and never come: its join has failed. A demoted one must have left the quorum (`members`: ids of the nodes in it): the
 * others may need its vote for that, and nobody takes a vote of a node that is gone. What becomes of the node's tasks the
 * orchestrator decides in its next pass: they end as orphans, which frees their addresses, and are replaced or not.
 */
export const removeNode = (
  tx: Tx,
  _ctx: WriteContext,
  input: { readonly ref: string; readonly force: boolean; readonly members: readonly string[] },
): Node => {
  const node = resolveNode(tx, input.ref);
  const name = node.description?.hostname || node.id;
  const neverCame = stateOf(node) === NodeState.NODE_STATE_UNKNOWN && managersOf(tx).length > 1;
  if (node.spec?.role === NodeRole.MANAGER && !(input.force && neverCame))
    throw refuse("conflict", "node", `${name} is a manager`, `Demote it first (tsctl node demote ${name})`);
  if (node.spec?.role === NodeRole.WORKER && input.members.includes(node.id))
    throw refuse(
      "conflict",
      "node",
      `${name} is demoted but still in the quorum: it can't leave before a majority of the other managers is up`,
      "See which are missing (tsctl cluster status), and repeat this when they are back",
    );
  if (stateOf(node) !== NodeState.NODE_DOWN && !input.force)
    throw refuse(
      "conflict",
      "node",
      `${name} is not down`,
      "Let it leave first (tsctl cluster leave on that node), or use --force",
    );
  tx.delete("node", node.id);
  return node;
};
