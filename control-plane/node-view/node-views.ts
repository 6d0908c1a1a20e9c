// Node views kept up to date: from what a command changed to what each node must be told. Items of a network are computed
// once for all of its nodes; a change costs the items that it touches, times the nodes that see them.

import { isLost } from "#control-plane/orchestrator/task-life.ts";
import { meshPorts } from "#control-plane/state/keys.ts";
import type { ReadTx, StateBatch, StateEvent } from "#control-plane/state/types.ts";
import type { Assignment } from "#proto/gen/dispatcher.ts";
import type { Node, Service, Task } from "#proto/gen/types.ts";
import { isForAgent, meshOf, networksOfNode, networksOfService, taskItem, taskKey } from "./items.ts";
import { hiddenFrom, type NetworkChanges, NetworkTable } from "./network-table.ts";

export type ViewChanges = { readonly put: Assignment[]; readonly remove: string[] };

export type NodeViews = {
  /** The complete view as of now; from here on `update` reports this node's changes. */
  subscribe(nodeId: string): Map<string, Assignment>;
  unsubscribe(nodeId: string): void;
  /** Call with each batch, in order, before the next command is applied. Nodes without changes are left out. */
  update(batch: StateBatch): Map<string, ViewChanges>;
};

type Seen = { readonly tasks: Set<string>; networks: Set<string> };
type TouchedNetwork = {
  network: boolean;
  readonly nodes: Set<string>;
  readonly tasks: Set<string>;
  readonly services: Set<string>;
};
type Touched = {
  readonly nodes: Set<string>;
  readonly tasks: Map<string, Task>;
  readonly networks: Map<string, TouchedNetwork>;
};

export const createNodeViews = (state: ReadTx): NodeViews => {
  const subscribed = new Map<string, Seen>();
  /** Networks that at least one subscribed node is on, and those nodes. */
  const tables = new Map<string, { readonly table: NetworkTable; readonly nodes: Set<string> }>();

  /** Every node that is not lost is on it. */
  let mesh = meshOf(state);

  const enter = (nodeId: string, networkId: string): NetworkTable => {
    const entry = tables.get(networkId) ?? { table: new NetworkTable(state, networkId), nodes: new Set<string>() };
    tables.set(networkId, entry);
    entry.nodes.add(nodeId);
    return entry.table;
  };

  const leave = (nodeId: string, networkId: string): void => {
    const entry = tables.get(networkId);
    entry?.nodes.delete(nodeId);
    if (entry?.nodes.size === 0) tables.delete(networkId);
  };

  const visible = (nodeId: string, networkId: string): Assignment[] => {
    const items = [...(tables.get(networkId)?.table.items() ?? [])];
    return items.filter((item) => hiddenFrom(item) !== nodeId);
  };

  const subscribe = (nodeId: string): Map<string, Assignment> => {
    unsubscribe(nodeId);
    const tasks = state.tasksOfNode(nodeId).filter(isForAgent);
    const networks = networksOfNode(state, nodeId, mesh);
    subscribed.set(nodeId, { tasks: new Set(tasks.map((task) => task.id)), networks });
    const view = new Map(tasks.map((task) => [taskKey(task.id), taskItem(task)]));
    for (const networkId of networks) {
      enter(nodeId, networkId);
      for (const item of visible(nodeId, networkId)) view.set(item.key, item);
    }
    return view;
  };

  const unsubscribe = (nodeId: string): void => {
    for (const networkId of subscribed.get(nodeId)?.networks ?? []) leave(nodeId, networkId);
    subscribed.delete(nodeId);
  };

  const update = (batch: StateBatch): Map<string, ViewChanges> => {
    if (batch.restored) return renew();
    const touched = touchedBy(state, batch.events);
    const oldMesh = mesh;
    mesh = meshOf(state);
    if (mesh !== oldMesh) for (const nodeId of subscribed.keys()) touched.nodes.add(nodeId);
    const changes = new Map<string, NetworkChanges>();
    for (const [networkId, what] of touched.networks) {
      const entry = tables.get(networkId);
      if (entry !== undefined) changes.set(networkId, entry.table.refresh(state, what));
    }
    const told = new Map<string, ViewChanges>();
    const tell = (nodeId: string): ViewChanges => {
      const known = told.get(nodeId) ?? { put: [], remove: [] };
      told.set(nodeId, known);
      return known;
    };
    const moved = new Map<string, Seen>();
    for (const nodeId of touched.nodes) {
      const seen = subscribed.get(nodeId);
      if (seen !== undefined) moved.set(nodeId, { tasks: seen.tasks, networks: new Set(seen.networks) });
    }
    for (const task of touched.tasks.values()) tellOwner(task, tell);
    for (const [nodeId, before] of moved) tellNetworks(nodeId, before.networks, changes, tell);
    for (const [networkId, { put, removed }] of changes)
      for (const nodeId of tables.get(networkId)?.nodes ?? []) {
        // Who came to this network in this batch has been told all of it.
        if (moved.has(nodeId) && !moved.get(nodeId)?.networks.has(networkId)) continue;
        const mine = put.filter((item) => hiddenFrom(item) !== nodeId);
        const gone = removed.filter((item) => hiddenFrom(item) !== nodeId);
        if (mine.length > 0) tell(nodeId).put.push(...mine);
        if (gone.length > 0) tell(nodeId).remove.push(...gone.map((item) => item.key));
      }
    for (const [nodeId, { put, remove }] of told) if (put.length + remove.length === 0) told.delete(nodeId);
    return told;
  };

  const tellOwner = (task: Task, tell: (nodeId: string) => ViewChanges): void => {
    const seen = subscribed.get(task.nodeId);
    if (seen === undefined) return;
    const now = state.get("task", task.id);
    if (now !== undefined && isForAgent(now)) {
      seen.tasks.add(task.id);
      tell(task.nodeId).put.push(taskItem(now));
    } else if (seen.tasks.delete(task.id)) tell(task.nodeId).remove.push(taskKey(task.id));
  };

  const tellNetworks = (
    nodeId: string,
    before: ReadonlySet<string>,
    changes: ReadonlyMap<string, NetworkChanges>,
    tell: (nodeId: string) => ViewChanges,
  ): void => {
    const seen = subscribed.get(nodeId);
    if (seen === undefined) return;
    seen.networks = networksOfNode(state, nodeId, mesh);
    for (const networkId of before) {
      if (seen.networks.has(networkId)) continue;
      const keys = new Set(visible(nodeId, networkId).map((item) => item.key));
      for (const item of changes.get(networkId)?.removed ?? []) if (hiddenFrom(item) !== nodeId) keys.add(item.key);
      tell(nodeId).remove.push(...keys);
      leave(nodeId, networkId);
    }
    for (const networkId of seen.networks) {
      if (before.has(networkId)) continue;
      enter(nodeId, networkId);
      tell(nodeId).put.push(...visible(nodeId, networkId));
    }
  };

  /** After a snapshot nothing is known about what changed: all views are compared as a whole. */
  const renew = (): Map<string, ViewChanges> => {
    const told = new Map<string, ViewChanges>();
    const old = new Map<string, string[]>();
    for (const [nodeId, seen] of subscribed) {
      const shared = [...seen.networks].flatMap((networkId) => visible(nodeId, networkId).map((item) => item.key));
      old.set(nodeId, [...[...seen.tasks].map(taskKey), ...shared]);
    }
    tables.clear();
    mesh = meshOf(state);
    for (const [nodeId, keys] of old) {
      subscribed.delete(nodeId);
      const view = subscribe(nodeId);
      told.set(nodeId, { put: [...view.values()], remove: keys.filter((key) => !view.has(key)) });
    }
    return told;
  };

  return { subscribe, unsubscribe, update };
};

/** Which items may differ after these events. */
const touchedBy = (state: ReadTx, events: readonly StateEvent[]): Touched => {
  const touched: Touched = { nodes: new Set(), tasks: new Map(), networks: new Map() };
  const network = (id: string): TouchedNetwork => {
    const known = touched.networks.get(id) ?? {
      network: false,
      nodes: new Set<string>(),
      tasks: new Set<string>(),
      services: new Set<string>(),
    };
    touched.networks.set(id, known);
    return known;
  };
  const attachments = (task: Task): void => {
    for (const { networkId } of task.attachments) {
      network(networkId).tasks.add(task.id);
      if (task.serviceId !== "") network(networkId).services.add(task.serviceId);
    }
  };
  const ingress = state.ingressNetwork()?.id;
  for (const event of events) {
    if (event.table === "task") {
      for (const task of event.previous === undefined ? [event.object] : [event.previous, event.object]) {
        attachments(task);
        if (task.nodeId === "") continue;
        touched.nodes.add(task.nodeId);
        touched.tasks.set(task.id, task);
      }
    } else if (event.table === "service") {
      const before = event.previous === undefined ? [] : networksOfService(event.previous);
      for (const id of [...before, ...networksOfService(event.object)]) network(id).services.add(event.object.id);
      const isPublished = [event.object, event.previous].some((s) => s !== undefined && meshPorts(s).length > 0);
      if (ingress !== undefined && isPublished) network(ingress).services.add(event.object.id);
      // Where the service comes or goes, tasks that were connected by themselves lose or get a name of their own.
      if (speaksElsewhere(event.object, event.previous)) state.tasksOfService(event.object.id).forEach(attachments);
    } else if (event.table === "network") {
      network(event.object.id).network = true;
      for (const members of [event.object.nodes, event.previous?.nodes ?? []])
        for (const { nodeId } of members) network(event.object.id).nodes.add(nodeId);
      if (event.action === "update") continue;
      // The driver of a new or vanished network decides about its endpoints, and whether it is that of published ports.
      for (const task of state.tasksOfNetwork(event.object.id)) network(event.object.id).tasks.add(task.id);
      if (!event.object.spec?.ingress) continue;
      for (const service of state.publishedServices()) network(event.object.id).services.add(service.id);
    } else if (
      event.table === "node" &&
      reachedOtherwise(event.action === "remove" ? undefined : event.object, event.previous)
    ) {
      touched.nodes.add(event.object.id);
      if (ingress !== undefined) network(ingress).nodes.add(event.object.id);
      for (const task of state.tasksOfNode(event.object.id)) attachments(task);
    }
  }
  return touched;
};

const speaksElsewhere = (service: Service, previous: Service | undefined): boolean => {
  if (previous === undefined || service.pendingDelete !== previous.pendingDelete) return true;
  const [now, before] = [networksOfService(service), networksOfService(previous)];
  return now.size !== before.size || [...now].some((id) => !before.has(id));
};

const reachedOtherwise = (node: Node | undefined, previous: Node | undefined): boolean =>
  isLost(node) !== isLost(previous) || node?.status?.addr !== previous?.status?.addr;
