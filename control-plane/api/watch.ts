// Events of the state for clients that wait: nothing in tsctl polls.
import { TswarmError } from "#base/errors.ts";
import { createQueue } from "#base/queue.ts";
import { withoutSecrets } from "#control-plane/api/without-secrets.ts";
import { TABLE_NAMES } from "#control-plane/state/tables.ts";
import type { State, StateBatch, StateEvent } from "#control-plane/state/types.ts";
import type { WatchRequest, WatchResponse, WatchSelector } from "#proto/gen/control.ts";
import type { Cluster, StoreObject } from "#proto/gen/types.ts";
import type { RpcContext } from "#proto/rpc/server.ts";

const toObject = (event: StateEvent, value: StateEvent["object"] | undefined): StoreObject | undefined =>
  value === undefined
    ? undefined
    : ({
        object: { $case: event.table, value: event.table === "cluster" ? withoutSecrets(value as Cluster) : value },
      } as StoreObject);

const matches = (event: StateEvent, { table, id, serviceId, nodeId }: WatchSelector): boolean =>
  (table === "" || table === event.table) &&
  (id === "" || id === event.object.id) &&
  (serviceId === "" || (event.table === "task" && event.object.serviceId === serviceId)) &&
  (nodeId === "" || (event.table === "task" && event.object.nodeId === nodeId));

const toResponse = (batch: StateBatch, selectors: readonly WatchSelector[]): WatchResponse => ({
  version: batch.index,
  events: batch.events
    .filter((event) => selectors.length === 0 || selectors.some((s) => matches(event, s)))
    .map((event) => ({
      action: event.action,
      object: toObject(event, event.object),
      previous: toObject(event, event.previous),
    })),
  snapshot: false,
});

type Watched = Pick<State, "watch" | "index" | "since" | "all">;

/** So far a client may stay behind: one that was stopped must not fill this process's memory. */
const MOST_WAITING = 10_000;

const beginAnew = (why: string): TswarmError =>
  new TswarmError("unavailable", `${why}: read the state again, then watch from there`);

/** Objects in one message of a snapshot. */
const SNAPSHOT_PIECE = 500;

/** Captures when called; what is yielded is made as it is asked for. */
const snapshotOf = (state: Watched, selectors: readonly WatchSelector[]): Generator<WatchResponse> => {
  const version = state.index;
  const events = TABLE_NAMES.flatMap((table) =>
    [...(state.all(table) as Iterable<StateEvent["object"]>)].map(
      (object) => ({ table, action: "create", object, previous: undefined }) as StateEvent,
    ),
  );
  return (function* () {
    for (let at = 0; at < events.length; at += SNAPSHOT_PIECE) {
      const piece = { index: version, events: events.slice(at, at + SNAPSHOT_PIECE), restored: false };
      const response = toResponse(piece, selectors);
      if (response.events.length > 0) yield { ...response, snapshot: true };
    }
  })();
};

/**
 * The first message without `snapshot` has no events: it tells the version after which the following ones come. Ends with
 * `unavailable` when events are lost for this client; it must ask again, with the last version that it has seen.
 */
export async function* watchState(
  state: Watched,
  { selectors, since }: WatchRequest,
  { signal }: RpcContext,
): AsyncGenerator<WatchResponse> {
  const missed = since === undefined ? [] : state.since(since);
  const snapshot = missed === undefined ? snapshotOf(state, selectors) : [];
  // A new leader may not have applied yet what its client has seen at the one before.
  const from = missed === undefined || since === undefined ? state.index : since;
  const queue = createQueue<WatchResponse>();
  const stop = state.watch((batch) => {
    if (batch.restored) queue.fail(beginAnew("the manager took over a whole snapshot of the state"));
    if (queue.size >= MOST_WAITING) queue.fail(beginAnew(`more than ${MOST_WAITING} changes wait to be read`));
    if (batch.index <= from) return;
    const response = toResponse(batch, selectors);
    if (response.events.length > 0) queue.push(response);
  });
  if (signal.aborted) queue.end();
  signal.addEventListener("abort", () => queue.end(), { once: true });
  try {
    yield* snapshot;
    yield { version: from, events: [], snapshot: false };
    for (const batch of missed ?? []) {
      const response = toResponse(batch, selectors);
      if (response.events.length > 0) yield response;
    }
    yield* queue;
  } finally {
    stop();
  }
}
