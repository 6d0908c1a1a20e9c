// Events of the state for clients that wait: nothing in tsctl polls.
import { createQueue } from "#base/queue.ts";
import type { State, StateBatch, StateEvent } from "#control-plane/state/types.ts";
import type { WatchRequest, WatchResponse, WatchSelector } from "#proto/gen/control.ts";
import type { Cluster, StoreObject } from "#proto/gen/types.ts";
import type { RpcContext } from "#proto/rpc/server.ts";

/** Keys and tokens never leave the managers by this way. */
const withoutSecrets = (cluster: Cluster): Cluster => ({
  ...cluster,
  caKeyPem: Buffer.alloc(0),
  joinTokenManager: "",
  joinTokenWorker: "",
});

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

/** The first message has no events: it tells the version after which the following ones come. */
export async function* watchState(
  state: State,
  { selectors }: WatchRequest,
  { signal }: RpcContext,
): AsyncGenerator<WatchResponse> {
  const queue = createQueue<WatchResponse>();
  const stop = state.watch((batch) => {
    const response = toResponse(batch, selectors);
    if (response.events.length > 0) queue.push(response);
  });
  signal.addEventListener("abort", () => queue.end(), { once: true });
  try {
    yield { version: state.index, events: [] };
    yield* queue;
  } finally {
    stop();
  }
}
