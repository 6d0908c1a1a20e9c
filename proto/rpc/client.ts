// A typed client over grpc-js: promises for unary calls, async iterables for streams, TswarmError for what goes wrong.
import {
  type CallOptions,
  type ChannelCredentials,
  Client,
  type ClientDuplexStream,
  type ClientOptions,
  type ClientReadableStream,
  type ClientWritableStream,
  credentials,
  Metadata,
  type ServiceError,
} from "@grpc/grpc-js";
import { createLatch } from "#base/latch.ts";
import {
  type MethodDefinition,
  methodPath,
  type Request,
  type Response,
  type RpcDefinition,
} from "#proto/rpc/definition.ts";
import { fromServiceError } from "#proto/rpc/status.ts";

export type RpcOptions = {
  readonly signal?: AbortSignal;
  readonly deadlineMs?: number;
  /** Called when a call with a stream of responses is over; if it failed or was reset also while its reader does not read. */
  readonly onOver?: () => void;
};

type ClientMethod<M extends MethodDefinition> = M["requestStream"] extends true
  ? M["responseStream"] extends true
    ? (requests: AsyncIterable<Request<M>>, options?: RpcOptions) => AsyncIterable<Response<M>>
    : (requests: AsyncIterable<Request<M>>, options?: RpcOptions) => Promise<Response<M>>
  : M["responseStream"] extends true
    ? (request: Request<M>, options?: RpcOptions) => AsyncIterable<Response<M>>
    : (request: Request<M>, options?: RpcOptions) => Promise<Response<M>>;

export type RpcClient<D extends RpcDefinition> = { readonly [K in keyof D["methods"]]: ClientMethod<D["methods"][K]> };

/** A connection to `address` ("unix:/path", "host:port", "[v6]:port"), made when first used. Close it with `.close()`. */
export const openChannel = (
  address: string,
  security: ChannelCredentials = credentials.createInsecure(),
  options: ClientOptions = {},
): Client =>
  new Client(address, security, {
    "grpc.max_receive_message_length": 64 << 20,
    "grpc.max_send_message_length": 64 << 20,
    // Managers come and go; the default backs off up to two minutes.
    "grpc.initial_reconnect_backoff_ms": 100,
    "grpc.max_reconnect_backoff_ms": 2_000,
    "grpc.enable_retries": 0,
    // What listens on this host is back as soon as its process is.
    ...(address.startsWith("unix:")
      ? { "grpc.default_authority": "localhost", "grpc.max_reconnect_backoff_ms": 200 }
      : {}),
    ...options,
  });

/** A call on a channel whose other end is cut off ends after the sum of these, instead of hanging for minutes. */
export const MANAGER_KEEPALIVE: ClientOptions = {
  "grpc.keepalive_time_ms": 1_000,
  "grpc.keepalive_timeout_ms": 1_000,
};

/** Whether the other end of `channel` is there within `timeoutMs`: so far nothing was sent, and nothing has to be repeated. */
export const connected = (channel: Client, timeoutMs: number): Promise<boolean> =>
  new Promise((resolve) => channel.waitForReady(Date.now() + timeoutMs, (error) => resolve(error === undefined)));

const encode = (method: MethodDefinition) => (message: unknown) =>
  Buffer.from(method.requestType.encode(message).finish());

/** Writes all of `source`, waiting where the stream is full; stops when the call is over. */
const pump = async (
  source: AsyncIterable<unknown>,
  call: ClientWritableStream<unknown> | ClientDuplexStream<unknown, unknown>,
) => {
  const over = createLatch();
  for (const event of ["close", "error", "status"]) call.once(event, over.open);
  const iterator = source[Symbol.asyncIterator]();
  try {
    for (;;) {
      const step = await over.orOpen(iterator.next());
      if (over.isOpen() || !step || step.done) break;
      if (!call.write(step.value)) await over.orOpen(new Promise<void>((resolve) => call.once("drain", resolve)));
      if (over.isOpen()) break;
    }
    if (!over.isOpen()) call.end();
  } catch (error) {
    call.cancel();
    throw error;
  } finally {
    // Not awaited: a generator that is blocked in its own await would hold this for ever.
    void iterator.return?.()?.catch(() => {});
  }
};

async function* responses(
  call: ClientReadableStream<unknown> | ClientDuplexStream<unknown, unknown>,
  options: RpcOptions,
): AsyncGenerator<unknown> {
  const abort = () => call.cancel();
  options.signal?.addEventListener("abort", abort, { once: true });
  if (options.onOver) call.once("status", options.onOver);
  try {
    if (options.signal?.aborted) call.cancel();
    for await (const message of call) yield message;
  } catch (error) {
    throw fromServiceError(error as ServiceError);
  } finally {
    options.signal?.removeEventListener("abort", abort);
    call.cancel();
  }
}

/** `definition` is one of proto/gen's `…Definition`; the channel may be shared by many clients. */
export const createClient = <D extends RpcDefinition>(definition: D, channel: Client): RpcClient<D> => {
  const client: Record<string, unknown> = {};
  for (const [name, method] of Object.entries(definition.methods)) {
    const path = methodPath(definition, method);
    const serialize = encode(method);
    const deserialize = (bytes: Buffer): unknown => method.responseType.decode(bytes);
    const callOptions = (o: RpcOptions): CallOptions =>
      o.deadlineMs === undefined ? {} : { deadline: Date.now() + o.deadlineMs };

    const single = (
      start: (done: (error: ServiceError | null, value?: unknown) => void) => { cancel(): void },
      options: RpcOptions,
    ) =>
      new Promise((resolve, reject) => {
        const call = start((error, value) => {
          options.signal?.removeEventListener("abort", abort);
          if (error) reject(fromServiceError(error));
          else resolve(value);
        });
        const abort = () => call.cancel();
        if (options.signal?.aborted) abort();
        else options.signal?.addEventListener("abort", abort, { once: true });
      });

    if (!method.requestStream && !method.responseStream)
      client[name] = (request: unknown, options: RpcOptions = {}) =>
        single(
          (done) =>
            channel.makeUnaryRequest(path, serialize, deserialize, request, new Metadata(), callOptions(options), done),
          options,
        );
    else if (!method.requestStream)
      client[name] = (request: unknown, options: RpcOptions = {}) =>
        responses(
          channel.makeServerStreamRequest(path, serialize, deserialize, request, new Metadata(), callOptions(options)),
          options,
        );
    else if (!method.responseStream)
      client[name] = (requests: AsyncIterable<unknown>, options: RpcOptions = {}) => {
        let failed: unknown;
        return single((done) => {
          const call = channel.makeClientStreamRequest(
            path,
            serialize,
            deserialize,
            new Metadata(),
            callOptions(options),
            done,
          );
          pump(requests, call).catch((error) => {
            failed = error;
          });
          return call;
        }, options).catch((error) => {
          throw failed ?? error;
        });
      };
    else
      client[name] = (requests: AsyncIterable<unknown>, options: RpcOptions = {}) => {
        const call = channel.makeBidiStreamRequest(path, serialize, deserialize, new Metadata(), callOptions(options));
        // A source that throws cancels the call: the reader sees it end.
        pump(requests, call).catch(() => {});
        return responses(call, options);
      };
  }
  return client as RpcClient<D>;
};
