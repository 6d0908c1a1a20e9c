// gRPC over HTTP/2 with nothing but node:http2: a command that lives for 50 ms can't spend 40 of them on loading a gRPC
// library. Wire format: github.com/grpc/grpc, doc/PROTOCOL-HTTP2.md. No compression, no retries, no load balancing.
import type { ClientHttp2Session, ClientHttp2Stream, IncomingHttpHeaders } from "node:http2";
import { type ErrorCode, TswarmError } from "#base/errors.ts";
import { createLatch } from "#base/latch.ts";
import { ErrorDetail } from "#proto/gen/control.ts";
import { type MethodDefinition, methodPath, type RpcDefinition } from "#proto/rpc/definition.ts";

/** gRPC status numbers of errors that came without our trailer. */
const CODES: Readonly<Record<string, ErrorCode>> = {
  1: "cancelled",
  3: "invalid",
  4: "timeout",
  5: "not_found",
  6: "name_conflict",
  7: "forbidden",
  8: "exhausted",
  9: "conflict",
  10: "stale_version",
  12: "unsupported",
  14: "unavailable",
  16: "unauthenticated",
};

const header = (headers: IncomingHttpHeaders, name: string): string => {
  const value = headers[name];
  return (Array.isArray(value) ? value[0] : value) ?? "";
};

const errorOf = (trailers: IncomingHttpHeaders): TswarmError | undefined => {
  const status = header(trailers, "grpc-status");
  if (status === "0") return undefined;
  const packed = header(trailers, "tswarm-error-bin");
  if (packed !== "") {
    const detail = ErrorDetail.decode(Buffer.from(packed, "base64"));
    return new TswarmError(detail.code as ErrorCode, detail.message, {
      issues: detail.issues,
      retryable: detail.retryable,
    });
  }
  const message = decodeURIComponent(header(trailers, "grpc-message").replace(/%(?![0-9a-f]{2})/gi, "%25"));
  return status === ""
    ? new TswarmError("unavailable", "the server ended the call without a status")
    : new TswarmError(CODES[status] ?? "internal", message || `gRPC status ${status}`);
};

const frame = (message: Uint8Array): Buffer => {
  const out = Buffer.allocUnsafe(5 + message.length);
  out[0] = 0;
  out.writeUInt32BE(message.length, 1);
  out.set(message, 5);
  return out;
};

/** The messages of a stream of bytes that is cut anywhere. */
async function* messages(stream: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let held: Buffer[] = [];
  let size = 0;
  let wanted = 5;
  for await (const chunk of stream) {
    held.push(chunk);
    size += chunk.length;
    while (size >= wanted) {
      const all = held.length === 1 ? held[0]! : Buffer.concat(held);
      wanted = 5 + all.readUInt32BE(1);
      if (size < wanted) {
        held = [all];
        break;
      }
      if (all[0] !== 0) throw new TswarmError("internal", "the server compressed a message that must not be");
      yield all.subarray(5, wanted);
      held = [all.subarray(wanted)];
      size -= wanted;
      wanted = 5;
    }
  }
}

const send = async (stream: ClientHttp2Stream, method: MethodDefinition, requests: AsyncIterable<unknown>) => {
  const closed = createLatch();
  stream.once("close", closed.open);
  const iterator = requests[Symbol.asyncIterator]();
  for (;;) {
    const step = await closed.orOpen(iterator.next());
    if (!step || step.done || stream.destroyed) break;
    const more = stream.write(frame(method.requestType.encode(step.value).finish()));
    if (!more) await closed.orOpen(new Promise<void>((resolve) => stream.once("drain", resolve)));
  }
  if (!stream.destroyed) stream.end();
  // Not awaited: a generator that waits for input would hold this for ever.
  void iterator.return?.()?.catch(() => {});
};

/** One call in any of the four shapes; ends with the messages of the response, or throws a TswarmError. */
export async function* call(
  session: ClientHttp2Session,
  definition: RpcDefinition,
  method: MethodDefinition,
  requests: AsyncIterable<unknown>,
  signal?: AbortSignal,
): AsyncGenerator<unknown> {
  if (signal?.aborted) throw new TswarmError("cancelled", "cancelled");
  const stream = session.request({
    ":method": "POST",
    ":path": methodPath(definition, method),
    "content-type": "application/grpc",
    te: "trailers",
  });
  let trailers: IncomingHttpHeaders | undefined;
  // An answer without a message has its status in the first headers.
  stream.once("response", (headers) => {
    if (headers["grpc-status"] !== undefined) trailers = headers;
  });
  stream.once("trailers", (headers) => {
    trailers = headers;
  });
  const abort = () => stream.close(8);
  signal?.addEventListener("abort", abort, { once: true });
  let failed: unknown;
  send(stream, method, requests).catch((error) => {
    failed = error;
    stream.close(8);
  });
  try {
    for await (const bytes of messages(stream)) yield method.responseType.decode(bytes);
    if (failed !== undefined) throw failed;
    if (signal?.aborted) throw new TswarmError("cancelled", "cancelled");
    const error = errorOf(trailers ?? {});
    if (error) throw error;
  } catch (error) {
    if (failed !== undefined) throw failed;
    if (signal?.aborted) throw new TswarmError("cancelled", "cancelled");
    if (error instanceof TswarmError) throw error;
    if (trailers) throw errorOf(trailers) ?? error;
    throw new TswarmError("unavailable", `the connection was lost: ${(error as Error).message}`, { cause: error });
  } finally {
    signal?.removeEventListener("abort", abort);
    if (!stream.closed) stream.close(8);
  }
}
