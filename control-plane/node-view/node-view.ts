import type { ReadTx } from "#control-plane/state/types.ts";
import type { Assignment } from "#proto/gen/dispatcher.ts";
import {
  endpointItem,
  isForAgent,
  memberItem,
  meshOf,
  networkItem,
  networksOfNode,
  publishItem,
  serviceItem,
  taskItem,
  taskNameItem,
} from "./items.ts";

/** Everything that this node must do and know, by key, computed from scratch. The reference for `NodeViews`. */
export const nodeView = (state: ReadTx, nodeId: string): Map<string, Assignment> => {
  const view = new Map<string, Assignment>();
  const add = (item: Assignment | undefined): void => void (item !== undefined && view.set(item.key, item));
  for (const task of state.tasksOfNode(nodeId)) if (isForAgent(task)) add(taskItem(task));
  for (const networkId of networksOfNode(state, nodeId, meshOf(state))) {
    add(networkItem(state, networkId));
    for (const task of state.tasksOfNetwork(networkId)) {
      if (task.nodeId !== nodeId) add(endpointItem(state, networkId, task.id));
      add(taskNameItem(state, networkId, task.id));
    }
    for (const member of state.get("network", networkId)?.nodes ?? [])
      if (member.nodeId !== nodeId) add(memberItem(state, networkId, member.nodeId));
    for (const service of state.servicesOfNetwork(networkId)) add(serviceItem(state, networkId, service.id));
    for (const service of state.publishedServices()) add(publishItem(state, networkId, service.id));
  }
  return view;
};
