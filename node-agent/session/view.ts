// The node's view: everything that the control plane wants of this node. Kept on disk as one COMPLETE message, so that
// a restarted agent goes on without any manager.
import { TswarmError } from "#base/errors.ts";
import { readReplacedFile, replaceFile } from "#base/node/replaced-file.ts";
import {
  type Assignment,
  Assignments,
  Assignments_Kind,
  type Drained,
  type Endpoint,
  type PublishedService,
  type ServiceEndpoint,
} from "#proto/gen/dispatcher.ts";
import type { Network, Task } from "#proto/gen/types.ts";

export type View = {
  readonly items: ReadonlyMap<string, Assignment>;
  readonly tasks: ReadonlyMap<string, Task>;
  readonly networks: ReadonlyMap<string, Network>;
  readonly endpoints: ReadonlyMap<string, Endpoint>;
  readonly services: ReadonlyMap<string, ServiceEndpoint>;
  /** Services with ports that every node accepts. */
  readonly published: ReadonlyMap<string, PublishedService>;
  /** Tasks of this node that get no new connections any more. */
  readonly drained: ReadonlyMap<string, Drained>;
  readonly sequence: number;
};

export const emptyView: View = {
  items: new Map(),
  tasks: new Map(),
  networks: new Map(),
  endpoints: new Map(),
  services: new Map(),
  published: new Map(),
  drained: new Map(),
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
  const base = complete ? emptyView : view;
  const items = new Map(base.items);
  // Parts that the message does not touch stay the same objects: who uses them sees that nothing changed.
  const parts = new Map<Part, Map<string, unknown>>();
  const part = (name: Part): Map<string, unknown> => {
    let map = parts.get(name);
    if (map === undefined) parts.set(name, (map = new Map<string, unknown>(base[name])));
    return map;
  };
  for (const key of message.remove) {
    const old = items.get(key)?.item;
    if (old) part(PARTS[old.$case]).delete(keyIn(key, old));
    items.delete(key);
  }
  for (const assignment of message.put) {
    const { key, item } = assignment;
    items.set(key, assignment);
    if (item) part(PARTS[item.$case]).set(keyIn(key, item), item.value);
  }
  return { ...base, ...Object.fromEntries(parts), items, sequence: message.sequence };
};

type Item = NonNullable<Assignment["item"]>;
type Part = (typeof PARTS)[keyof typeof PARTS];
const PARTS = {
  task: "tasks",
  network: "networks",
  endpoint: "endpoints",
  service: "services",
  publish: "published",
  drained: "drained",
} as const;

const keyIn = (key: string, item: Item): string =>
  item.$case === "task" || item.$case === "network"
    ? item.value.id
    : item.$case === "drained"
      ? item.value.taskId
      : key;

export const saveView = (path: string, view: View): void => {
  const message = Assignments.fromPartial({
    kind: Assignments_Kind.COMPLETE,
    sequence: view.sequence,
    put: [...view.items.values()],
  });
  replaceFile(path, Assignments.encode(message).finish());
};

/** The view of the last session; empty when there was none, or when a power loss has cut it off. */
export const loadView = (path: string): View => {
  const bytes = readReplacedFile(path);
  if (bytes === undefined) return emptyView;
  try {
    return applyAssignments(emptyView, Assignments.decode(bytes));
  } catch {
    return emptyView;
  }
};
