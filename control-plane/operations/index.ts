export { initCluster, rotateTokens, rotateUnlockKey, updateCluster } from "./cluster.ts";
export { connectNetwork, disconnectNetwork } from "./connections.ts";
export { removeContainer, runContainer, stopContainer } from "./containers.ts";
export { selectNetworks, selectNodes, selectServices, selectTasks } from "./filters.ts";
export { createNetwork, pruneNetworks, removeNetwork, updateNetwork, viewNetwork } from "./networks.ts";
export {
  applyNodeSession,
  applyTaskStatuses,
  registerNode,
  removeNode,
  setNodeState,
  updateNode,
} from "./nodes.ts";
export { resolveLogTasks, resolveNetwork, resolveNode, resolveService, resolveTask } from "./references.ts";
export { createService, removeService, serviceWarnings, updateService } from "./services.ts";
export { deployStack, removeStack } from "./stacks.ts";
