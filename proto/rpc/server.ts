// Typed handlers on a grpc-js server: async functions and generators; thrown errors become statuses with details.
import type {
  Server,
  ServerDuplexStream,
  ServerReadableStream,
  ServerUnaryCall,
  ServerWritableStream,
  ServiceDefinition,
  UntypedServiceImplementation,
} from "@grpc/grpc-js";
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
  /** Aborted when the call is cancelled or its connection is lost. */
  readonly signal: AbortSignal;
};

type Handler<M extends MethodDefinition> = M["requestStream"] extends true
  ? M["responseStream"] extends true
    ? (requests: AsyncIterable<Request<M>>, context: RpcContext) => AsyncIterable<Response<M>>
    : (requests: AsyncIterable<Request<M>>, context: RpcContext) => Promise<Response<M>>
  : M["responseStream"] extends true
    ? (request: Request<M>, context: RpcContext) => AsyncIterable<Response<M>>
    : (request: Request<M>, context: RpcContext) => Promise<Response<M>>;

export type Handlers<D extends RpcDefinition> = { readonly [K in keyof D["methods"]]: Handler<D["methods"][K]> };

type AnyCall =
  | ServerUnaryCall<unknown, unknown>
  | ServerWritableStream<unknown, unknown>
  | ServerReadableStream<unknown, unknown>
  | ServerDuplexStream<unknown, unknown>;

/** Subject of a node certificate: CN = node id, O = cluster id, OU = tswarm-manager | tswarm-worker. */
export const peerOf = (call: AnyCall): Peer | undefined => {
  const subject = call.getAuthContext()?.sslPeerCertificate?.subject as Record<string, string> | undefined;
  if (!subject?.CN) return undefined;
  return {
    nodeId: subject.CN,
    clusterId: subject.O ?? "",
    role: subject.OU === "tswarm-manager" ? "manager" : "worker",
  };
};

const contextOf = (call: AnyCall): RpcContext => {
  const controller = new AbortController();
  (call as ServerUnaryCall<unknown, unknown>).on("cancelled", () => controller.abort());
  return { peer: peerOf(call), address: call.getPeer(), signal: controller.signal };
};

/** Every call passes here first; it throws to refuse. */
export type Guard = (method: string, context: RpcContext) => void;

type Stream = ServerWritableStream<unknown, unknown> | ServerDuplexStream<unknown, unknown>;

const send = async (call: Stream, source: AsyncIterable<unknown>, signal: AbortSignal) => {
  const aborted = new Promise<"aborted">((resolve) =>
    signal.addEventListener("abort", () => resolve("aborted"), { once: true }),
  );
  const iterator = source[Symbol.asyncIterator]();
  try {
    for (;;) {
      const step = await Promise.race([iterator.next(), aborted]);
      if (step === "aborted") return;
      if (step.done) break;
      if (!call.write(step.value)) {
        const full = await Promise.race([
          new Promise<"drained">((r) => call.once("drain", () => r("drained"))),
          aborted,
        ]);
        if (full === "aborted") return;
      }
    }
    call.end();
  } catch (error) {
    call.emit("error", toServiceError(error));
  } finally {
    void iterator.return?.()?.catch(() => {});
  }
};

/** Adds the service to the server. */
export const addService = <D extends RpcDefinition>(
  server: Server,
  definition: D,
  handlers: Handlers<D>,
  guard?: Guard,
): void => {
  const service: Record<string, ServiceDefinition[string]> = {};
  const implementation: UntypedServiceImplementation = {};
  for (const [name, method] of Object.entries(definition.methods)) {
    const path = methodPath(definition, method);
    service[name] = {
      path,
      requestStream: method.requestStream,
      responseStream: method.responseStream,
      requestSerialize: (m: unknown) => Buffer.from(method.requestType.encode(m).finish()),
      requestDeserialize: (b: Buffer) => method.requestType.decode(b),
      responseSerialize: (m: unknown) => Buffer.from(method.responseType.encode(m).finish()),
      responseDeserialize: (b: Buffer) => method.responseType.decode(b),
    };
    // biome-ignore lint/suspicious/noExplicitAny: the four shapes are told apart by the definition, not by a type
    const handler = (handlers as any)[name].bind(handlers) as (request: unknown, context: RpcContext) => any;
    implementation[name] = (
      method.responseStream
        ? (call: Stream) => {
            const context = contextOf(call);
            try {
              guard?.(name, context);
              const request = method.requestStream ? call : (call as ServerWritableStream<unknown, unknown>).request;
              void send(call, handler(request, context), context.signal);
            } catch (error) {
              call.emit("error", toServiceError(error));
            }
          }
        : (call: AnyCall, done: (error: unknown, value?: unknown) => void) => {
            const context = contextOf(call);
            (async () => {
              guard?.(name, context);
              return handler(
                method.requestStream ? call : (call as ServerUnaryCall<unknown, unknown>).request,
                context,
              );
            })().then(
              (value) => done(null, value),
              (error) => done(toServiceError(error)),
            );
          }
    ) as UntypedServiceImplementation[string];
  }
  server.addService(service, implementation);
};
