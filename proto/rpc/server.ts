// Services on a grpc-js server: typed async functions and generators here, or the same calls passed on as bytes to
// another process (an agent to a manager, a follower to the leader). Thrown errors become statuses with details.
import type {
  Client,
  ClientDuplexStream,
  Server,
  ServerDuplexStream,
  ServiceDefinition,
  ServiceError,
  UntypedServiceImplementation,
} from "@grpc/grpc-js";
import { Metadata } from "@grpc/grpc-js";
import { reading, TswarmError } from "#base/errors.ts";
import { createLatch } from "#base/latch.ts";
import {
  type MethodDefinition,
  methodPath,
  type Request,
  type Response,
  type RpcDefinition,
} from "#proto/rpc/definition.ts";
import { toServiceError } from "#proto/rpc/status.ts";

/** Who calls: from the client's certificate. `undefined` on a Unix socket or without a certificate. */
export type Peer = { readonly nodeId: string; readonly clusterId: string; readonly role: "manager" | "worker" };

export type RpcContext = {
  readonly peer: Peer | undefined;
  /** Address of the caller's end, "host:port". */
  readonly address: string;
  /** Aborted when the call is cancelled, its connection is lost or it has ended. */
  readonly signal: AbortSignal;
  /**
   * Ends the call at once, without a status, and drops what waits to be sent: an orderly end would wait behind it, for ever
   * when the caller does not read on.
   */
  reset(): void;
};

type Handler<M extends MethodDefinition> = M["requestStream"] extends true
  ? M["responseStream"] extends true
    ? (requests: AsyncIterable<Request<M>>, context: RpcContext) => AsyncIterable<Response<M>>
    : (requests: AsyncIterable<Request<M>>, context: RpcContext) => Promise<Response<M>>
  : M["responseStream"] extends true
    ? (request: Request<M>, context: RpcContext) => AsyncIterable<Response<M>>
    : (request: Request<M>, context: RpcContext) => Promise<Response<M>>;

export type Handlers<D extends RpcDefinition> = { readonly [K in keyof D["methods"]]: Handler<D["methods"][K]> };

/** The process that must answer instead of this one; `undefined`: this one. Throws to refuse. */
export type Elsewhere = () => Client | undefined | Promise<Client | undefined>;

export type ServiceOptions = {
  /** Every call passes here first; it throws to refuse. */
  readonly guard?: (method: string, context: RpcContext) => void;
  readonly elsewhere?: Elsewhere;
  /** Who calls when the connection has no certificate: on a Unix socket, this node itself. */
  readonly local?: Peer;
};

type Call = ServerDuplexStream<Buffer, Buffer>;

/**
 * On calls that a manager passed on to the leader: who called it, as JSON ("null": nobody with a certificate). The leader
 * answers itself or refuses, so that no call goes in circles. Believed only from a manager. A process that answers nothing
 * of the service itself (the agent) calls in its own name.
 */
const FORWARDED = "tswarm-forwarded";

const raw = (bytes: Buffer): Buffer => bytes;

/** Subject of a node certificate: CN = node id, O = cluster id, OU = tswarm-manager | tswarm-worker. */
export const peerOf = (call: Pick<Call, "getAuthContext">): Peer | undefined => {
  const subject = call.getAuthContext()?.sslPeerCertificate?.subject as Record<string, string> | undefined;
  if (!subject?.CN) return undefined;
  return {
    nodeId: subject.CN,
    clusterId: subject.O ?? "",
    role: subject.OU === "tswarm-manager" ? "manager" : "worker",
  };
};

/** RFC 9113 section 7 */
const HTTP2_CANCEL = 8;

/** grpc-js lets only its clients reset a stream: a server's is private. */
const resetStream = (call: Call): void => {
  const { stream } = (call as unknown as { call: { stream: { close(code: number): void } } }).call;
  stream.close(HTTP2_CANCEL);
};

/** Writes all of `source`, waiting where the stream is full. */
const send = async (
  call: Call,
  source: AsyncIterable<unknown>,
  encode: (m: unknown) => Buffer,
  signal: AbortSignal,
) => {
  const aborted = createLatch();
  signal.addEventListener("abort", aborted.open, { once: true });
  const iterator = source[Symbol.asyncIterator]();
  try {
    for (;;) {
      const step = await aborted.orOpen(iterator.next());
      if (step === undefined || step.done) return;
      if (call.write(encode(step.value))) continue;
      await aborted.orOpen(new Promise<true>((resolve) => call.once("drain", () => resolve(true))));
      if (aborted.isOpen()) return;
    }
  } finally {
    // Not awaited: a generator that is blocked in its own await would hold this for ever; it sees the signal.
    void iterator.return?.()?.catch(() => {});
  }
};

/** gRPC frames unary calls and streams alike, so every call is served as a stream in both directions. */
const answer = async (
  call: Call,
  method: MethodDefinition,
  // biome-ignore lint/suspicious/noExplicitAny: which of the four shapes it has, the definition says
  handler: (request: any, context: RpcContext) => any,
  context: RpcContext,
): Promise<void> => {
  const encode = (message: unknown) => Buffer.from(method.responseType.encode(message).finish());
  const requests = (async function* () {
    // Its end must not destroy the call, whose status is still to come.
    for await (const bytes of call.iterator({ destroyOnReturn: false }))
      yield reading("invalid", `the request of ${method.name}`, () => method.requestType.decode(bytes as Buffer));
  })();
  const request = method.requestStream ? requests : (await requests.next()).value;
  if (request === undefined) throw new TswarmError("invalid", `${method.name} was called without a request`);
  if (method.responseStream) await send(call, handler(request, context), encode, context.signal);
  else call.write(encode(await handler(request, context)));
};

/** Who calls in the end, whoever passed the call on. */
const callerOf = (call: Call): Peer | undefined => {
  const peer = peerOf(call);
  const [forwarded] = call.metadata.get(FORWARDED);
  if (forwarded === undefined || peer?.role !== "manager") return peer;
  return reading("invalid", "the caller's name", () => JSON.parse(forwarded.toString()) as Peer | null) ?? undefined;
};

/** `inNameOf`: null for nobody with a certificate, undefined to call in the own name. */
const passOn = (call: Call, path: string, channel: Client, inNameOf: Peer | null | undefined): void => {
  const metadata = new Metadata();
  if (inNameOf !== undefined) metadata.set(FORWARDED, JSON.stringify(inNameOf));
  const onward: ClientDuplexStream<Buffer, Buffer> = channel.makeBidiStreamRequest(path, raw, raw, metadata);
  call.on("cancelled", () => onward.cancel());
  call.on("data", (message: Buffer) => {
    if (onward.write(message)) return;
    call.pause();
    onward.once("drain", () => call.resume());
  });
  call.on("end", () => onward.end());
  onward.on("data", (message: Buffer) => {
    if (call.write(message)) return;
    onward.pause();
    call.once("drain", () => onward.resume());
  });
  onward.on("end", () => call.end());
  onward.on("error", ({ code, details, metadata: trailer }: ServiceError) =>
    call.emit("error", { code, details, metadata: trailer }),
  );
};

const serve = async (
  call: Call,
  name: string,
  path: string,
  method: MethodDefinition,
  handlers: Readonly<Record<string, unknown>> | undefined,
  options: ServiceOptions,
): Promise<void> => {
  const controller = new AbortController();
  call.on("cancelled", () => controller.abort());
  try {
    const context: RpcContext = {
      peer: callerOf(call) ?? options.local,
      address: call.getPeer(),
      signal: controller.signal,
      reset: () => resetStream(call),
    };
    options.guard?.(name, context);
    const channel = await options.elsewhere?.();
    if (channel) {
      if (handlers && call.metadata.get(FORWARDED).length > 0)
        throw new TswarmError("not_leader", "the leader changed while the call was on its way to it: try again");
      passOn(call, path, channel, handlers && (context.peer ?? null));
      return;
    }
    const handler = handlers![name] as (request: unknown, context: RpcContext) => unknown;
    await answer(call, method, handler.bind(handlers), context);
    call.end();
  } catch (error) {
    call.emit("error", toServiceError(error));
  } finally {
    controller.abort();
  }
};

/**
 * Adds the service to the server. `handlers` may be left out where `elsewhere` always names a channel.
 */
export const addService = <D extends RpcDefinition>(
  server: Server,
  definition: D,
  handlers: Handlers<D> | undefined,
  options: ServiceOptions = {},
): void => {
  const service: Record<string, ServiceDefinition[string]> = {};
  const implementation: UntypedServiceImplementation = {};
  for (const [name, method] of Object.entries(definition.methods)) {
    const path = methodPath(definition, method);
    service[name] = {
      path,
      requestStream: true,
      responseStream: true,
      requestSerialize: raw,
      requestDeserialize: raw,
      responseSerialize: raw,
      responseDeserialize: raw,
    };
    implementation[name] = (call: Call) =>
      void serve(call, name, path, method, handlers as Readonly<Record<string, unknown>> | undefined, options);
  }
  server.addService(service, implementation);
};
