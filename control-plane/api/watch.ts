// Events of the state for clients that wait: nothing in tsctl polls.
import { TswarmError } from "#base/errors.ts";
import { createQueue } from "#base/queue.ts";
import { withoutSecrets } from "#control-plane/api/without-secrets.ts";
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
});

/** So far a client may stay behind: one that was stopped must not fill this process's memory. */
const MOST_WAITING = 10_000;

const beginAnew = (why: string): TswarmError =>
  new TswarmError("unavailable", `${why}: read the state again, then watch from there`);

/**
 * The first message has no events: it tells the version after which the following ones come. Ends with
 * `unavailable` when events are lost for this client; it must begin anew.
 */
export async function* watchState(
  state: Pick<State, "watch" | "index">,
  { selectors }: WatchRequest,
  { signal }: RpcContext,
): AsyncGenerator<WatchResponse> {
  const queue = createQueue<WatchResponse>();
  const stop = state.watch((batch) => {
    if (batch.restored) queue.fail(beginAnew("the manager took over a whole snapshot of the state"));
    if (queue.size >= MOST_WAITING) queue.fail(beginAnew(`more than ${MOST_WAITING} changes wait to be read`));
    const response = toResponse(batch, selectors);
    if (response.events.length > 0) queue.push(response);
  });
  if (signal.aborted) queue.end();
  signal.addEventListener("abort", () => queue.end(), { once: true });
  try {
    yield { version: state.index, events: [] };
    yield* queue;
  } finally {
    stop();
  }
}
