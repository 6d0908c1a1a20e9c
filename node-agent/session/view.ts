// The node's view: everything that the control plane wants of this node. Kept on disk as one COMPLETE message, so that
// a restarted agent goes on without any manager.
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { TswarmError } from "#base/errors.ts";
import {
  type Assignment,
  Assignments,
  Assignments_Kind,
  type Endpoint,
  type ServiceEndpoint,
} from "#proto/gen/dispatcher.ts";
import type { Network, Task } from "#proto/gen/types.ts";

export type View = {
  readonly items: ReadonlyMap<string, Assignment>;
  readonly tasks: ReadonlyMap<string, Task>;
  readonly networks: ReadonlyMap<string, Network>;
  readonly endpoints: ReadonlyMap<string, Endpoint>;
  readonly services: ReadonlyMap<string, ServiceEndpoint>;
  readonly sequence: number;
};

export const emptyView: View = {
  items: new Map(),
  tasks: new Map(),
  networks: new Map(),
  endpoints: new Map(),
  services: new Map(),
  sequence: 0,
};

/** The view after `message`. Throws `internal` when one is missing in between: the session must begin anew. */
export const applyAssignments = (view: View, message: Assignments): View => {
  const complete = message.kind === Assignments_Kind.COMPLETE;
  if (!complete && message.appliesTo !== view.sequence)
    throw new TswarmError(
      "internal",
      `assignments ${message.sequence} apply to ${message.appliesTo}, the view is at ${view.sequence}`,
    );
  const items = new Map(complete ? [] : view.items);
  for (const key of message.remove) items.delete(key);
  for (const item of message.put) items.set(item.key, item);
  const tasks = new Map<string, Task>();
  const networks = new Map<string, Network>();
  const endpoints = new Map<string, Endpoint>();
  const services = new Map<string, ServiceEndpoint>();
  for (const [key, { item }] of items)
    switch (item?.$case) {
      case "task":
        tasks.set(item.value.id, item.value);
        break;
      case "network":
        networks.set(item.value.id, item.value);
        break;
      case "endpoint":
        endpoints.set(key, item.value);
        break;
      case "service":
        services.set(key, item.value);
        break;
    }
  return { items, tasks, networks, endpoints, services, sequence: message.sequence };
};

export const saveView = (path: string, view: View): void => {
  const message = Assignments.fromPartial({
    kind: Assignments_Kind.COMPLETE,
    sequence: view.sequence,
    put: [...view.items.values()],
  });
  writeFileSync(`${path}.new`, Assignments.encode(message).finish(), { mode: 0o600 });
  renameSync(`${path}.new`, path);
};

/** The view of the last session; empty when there was none, or when a power loss has cut it off. */
export const loadView = (path: string): View => {
  let bytes: Buffer;
  try {
    bytes = readFileSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return emptyView;
    throw error;
  }
  try {
    return applyAssignments(emptyView, Assignments.decode(bytes));
  } catch {
    return emptyView;
  }
};
